//! The command `lakeward`.

use std::process::ExitCode;

/// Large column buffers come and go all the time; this allocator gives them back to the system, where
/// the C library's keeps them (measured in ARCHITECTURE.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lakeward::cli::main()
}
