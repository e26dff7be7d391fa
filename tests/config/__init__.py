"""The configuration: tables for each rule of reading, and each fault as one line."""
