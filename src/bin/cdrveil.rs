fn main() -> std::process::ExitCode {
    cdrveil::cli::main()
}
