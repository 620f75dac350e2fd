//! The runtime from outside: over real sockets, as a real process with real signals, and with a real
//! receiver of traces. All on the loopback interface, on ports of the system's choosing.

mod http;
mod process;
mod serve;
mod traces;
