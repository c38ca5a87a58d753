"""An HTTP server of trained models: `resnets serve`, and an ASGI application for other servers."""
