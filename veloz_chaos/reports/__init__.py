"""Judgements, plans and events in words, tables and JSON. Pure: nothing here prints, or looks at a clock."""
