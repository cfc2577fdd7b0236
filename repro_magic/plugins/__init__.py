"""Plug-ins for other libraries' generators and flagged ops, built as any package could build them."""
