"""What runs functions: one caller per kind, chosen once per task function."""
