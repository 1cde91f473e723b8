"""Broadcast: channels, their history, receipts, and settings that every process shares."""
