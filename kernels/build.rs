//! Looks for a C++ compiler: the tests of the CUDA kernels run them on the CPU (cuda/emulator) and are ignored without one.
//! The library itself needs none. (`pipeline/agent`, which has such a test as well, is built with this script, too.)

use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rerun-if-env-changed=CXX");
    println!("cargo::rustc-check-cfg=cfg(cxx)");
    let named = std::env::var("CXX").ok();
    let works = |name: &str| {
        Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    };
    let mut names = named.iter().map(String::as_str).chain(["c++", "g++", "clang++"]);
    let compiler = names.find(|name| works(name));
    if compiler.is_some() {
        println!("cargo::rustc-cfg=cxx");
    }
    println!("cargo::rustc-env=PLAYHOUSE_CXX={}", compiler.unwrap_or_default());
}
