"""Parts of networks that papers compare with their own."""
