"""Printed text as a reader sees it, without what differs in every run and means nothing."""
