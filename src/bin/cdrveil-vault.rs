fn main() -> std::process::ExitCode {
    cdrveil::cli::vault_main()
}
