//! One log line per event.
