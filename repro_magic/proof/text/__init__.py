"""Printed text as a reader sees it, without noise."""
