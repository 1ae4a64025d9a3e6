VERSION = "0.1.0"
CONSTITUTIONAL_HASH = "cdd01ef066bc6cf2"  # that of a daemon on its defaults
