"""Other libraries' generators and flagged ops, each as the plug-in that any package could be."""
