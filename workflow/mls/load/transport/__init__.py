"""Requests on the wire, and the moments at which bytes came."""
