//! The command `lakeward`.

use std::process::ExitCode;

/// Memory that was let go returns to the system soon, from every thread's arena; the system's own allocator keeps it, and the
/// peak of a process of many threads is then far above what it holds. Its settings stand in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    lakeward::cli::main()
}
