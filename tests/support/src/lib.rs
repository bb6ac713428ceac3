//! Starts the real servers that the tests need.
