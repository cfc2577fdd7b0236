"""What runs inside the notebook's kernel: reads values, and keeps what later runs are compared with."""
