//! The `rnnc` command; all of it is in the library's `cli`.

fn main() -> std::process::ExitCode {
    rnnc::cli::main()
}
