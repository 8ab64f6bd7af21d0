//! Tests of the client against a real server on the loopback.
