"""Sectra's Pathology Image Analysis API (IA-API): its records, and a client for DPAT's side of it."""
