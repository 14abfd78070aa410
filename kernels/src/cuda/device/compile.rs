//! The kernels as machine code of one architecture: by NVRTC from the text in the binary, once, then from a cache on disk.
//!
//! ```text
//! <cache>/<file>-<architecture>-<hash>.cubin     hash of the sources, the architecture and NVRTC's version
//!   32 bytes   hash of the rest
//!   the rest   what NVRTC made
//! ```
//!
//! A file comes into being whole, by renaming; one whose hash is wrong is made again. A cache that cannot be written costs a second at each
//! start and nothing else.

use super::CudaError;
use cudarc::nvrtc::sys;
use std::ffi::{CStr, CString, c_char};
use std::path::{Path, PathBuf};

/// A file of `cuda/`: its name and its text.
pub type Source = (&'static str, &'static str);

macro_rules! sources {
    ($($name:literal),+ $(,)?) => { [$(($name, include_str!(concat!("../../../cuda/", $name)))),+] };
}

/// What every kernel includes.
pub const HEADER: Source = ("device.cuh", include_str!("../../../cuda/device.cuh"));

/// All kernels.
pub const SOURCES: [Source; 15] = sources![
    "adamw.cu",
    "attention.cu",
    "attention_any.cu",
    "attention_decode.cu",
    "bottleneck.cu",
    "bradley_terry.cu",
    "depthwise.cu",
    "elementary.cu",
    "frames.cu",
    "layer_norm.cu",
    "linear.cu",
    "planes.cu",
    "policy_loss.cu",
    "reduce.cu",
    "stem.cu",
];

/// Version of the NVRTC that is loaded.
///
/// # Safety
/// NVRTC is there (`is_culib_present`): cudarc panics otherwise.
pub unsafe fn version() -> (i32, i32) {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the library is there; both places are valid for the answer, and stay zero if it fails.
    unsafe { sys::nvrtcVersion(&mut major, &mut minor) };
    (major, minor)
}

/// A program that is destroyed whatever happens.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: made by `nvrtcCreateProgram`, destroyed once.
        unsafe { sys::nvrtcDestroyProgram(&mut self.0) };
    }
}

/// The code of one file for `architecture` ("sm_90"), and the compiler's log.
///
/// # Errors
/// What the compiler says of the file.
///
/// # Safety
/// NVRTC is there (`is_culib_present`): cudarc panics otherwise.
pub unsafe fn compile(source: Source, architecture: &str, more: &[&str]) -> Result<(Vec<u8>, String), CudaError> {
    let text = |text: &str| CString::new(text).unwrap_or_else(|_| unreachable!("sources have no NUL"));
    let (name, source_text, header, header_name) = (text(source.0), text(source.1), text(HEADER.1), text(HEADER.0));
    let architecture = format!("--gpu-architecture={architecture}");
    let options: Vec<CString> = [architecture.as_str(), "--std=c++17"].iter().chain(more).map(|o| text(o)).collect();
    let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
    let failed = |log: String| CudaError::Compile { file: source.0, log };
    // SAFETY: every pointer is to a live NUL-terminated string or to a place of the size that NVRTC asked for.
    unsafe {
        let (headers, names) = ([header.as_ptr()], [header_name.as_ptr()]);
        let mut program = Program(std::ptr::null_mut());
        sys::nvrtcCreateProgram(
            &mut program.0,
            source_text.as_ptr(),
            name.as_ptr(),
            1,
            headers.as_ptr(),
            names.as_ptr(),
        )
        .result()
        .map_err(|e| failed(e.to_string()))?;
        let compiled = sys::nvrtcCompileProgram(program.0, options.len() as i32, options.as_ptr()).result();
        let mut size = 0;
        sys::nvrtcGetProgramLogSize(program.0, &mut size).result().map_err(|e| failed(e.to_string()))?;
        let mut log = vec![0u8; size];
        sys::nvrtcGetProgramLog(program.0, log.as_mut_ptr().cast()).result().map_err(|e| failed(e.to_string()))?;
        let log = CStr::from_bytes_until_nul(&log).map_or(String::new(), |log| log.to_string_lossy().into_owned());
        compiled.map_err(|e| failed(format!("{e}: {log}")))?;
        let mut size = 0;
        sys::nvrtcGetCUBINSize(program.0, &mut size).result().map_err(|e| failed(e.to_string()))?;
        let mut cubin = vec![0u8; size];
        sys::nvrtcGetCUBIN(program.0, cubin.as_mut_ptr().cast()).result().map_err(|e| failed(e.to_string()))?;
        Ok((cubin, log))
    }
}

/// Where code is kept: the user's cache folder, or the temporary one.
pub fn cache() -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    user.unwrap_or_else(std::env::temp_dir).join("playhouse").join("kernels")
}

/// The file that code of `source` is kept in.
pub fn place(cache: &Path, source: Source, architecture: &str, version: (i32, i32)) -> PathBuf {
    let mut hash = blake3::Hasher::new();
    for part in [source.1, HEADER.1, architecture, &format!("{version:?}")] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let stem = source.0.trim_end_matches(".cu");
    cache.join(format!("{stem}-{architecture}-{}.cubin", &hash.finalize().to_hex()[..16]))
}

/// What is kept at `path`, or what `make` makes, which is then kept there.
pub fn kept(path: &Path, make: impl FnOnce() -> Result<Vec<u8>, CudaError>) -> Result<Vec<u8>, CudaError> {
    if let Ok(bytes) = std::fs::read(path)
        && let Some((hash, code)) = bytes.split_first_chunk::<32>()
        && blake3::hash(code) == *hash
    {
        return Ok(code.to_vec());
    }
    let code = make()?;
    let keep = || {
        std::fs::create_dir_all(path.parent()?).ok()?;
        let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
        let bytes = [blake3::hash(&code).as_bytes(), code.as_slice()].concat();
        let written = std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
        written.or_else(|_| std::fs::remove_file(&temporary)).ok()
    };
    keep();
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_in_the_binary() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda");
        let names = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".cu")).collect();
        names.sort();
        assert_eq!(names, SOURCES.map(|(name, _)| name));
    }

    #[test]
    fn code_is_kept_and_a_damaged_file_is_made_again() {
        let folder = std::env::temp_dir().join(format!("playhouse-cubin-{}", std::process::id()));
        let path = place(&folder.join("not/yet"), SOURCES[0], "sm_90", (13, 0));
        let make = |code: &[u8]| kept(&path, || Ok(code.to_vec())).unwrap();
        assert_eq!(make(b"first"), b"first");
        assert_eq!(make(b"second"), b"first");
        let whole = std::fs::read(&path).unwrap();
        let flipped = [&whole[..whole.len() - 1], &[whole[whole.len() - 1] ^ 1]].concat();
        for damaged in [&whole[..10], &whole[..whole.len() - 1], &flipped, &[]] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(make(b"third"), b"third");
            assert_eq!(make(b"fourth"), b"third");
        }
        let failed = || Err(CudaError::Compile { file: "a.cu", log: "no".to_owned() });
        assert_eq!(kept(&path, failed).unwrap(), b"third");
        // A cache that cannot be written: a folder is in the way.
        assert_eq!(kept(&folder, || Ok(b"code".to_vec())).unwrap(), b"code");
        assert!(kept(&folder, failed).unwrap_err().to_string().contains("a.cu"));
        let left = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "no temporary file stays");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn another_source_architecture_or_compiler_is_another_file() {
        let at = |source, architecture, version| place(Path::new("/"), source, architecture, version);
        let one = at(SOURCES[0], "sm_90", (13, 0));
        assert_eq!(one, at(SOURCES[0], "sm_90", (13, 0)));
        assert_ne!(one, at((SOURCES[0].0, "other"), "sm_90", (13, 0)));
        assert_ne!(one, at(SOURCES[0], "sm_80", (13, 0)));
        assert_ne!(one, at(SOURCES[0], "sm_90", (13, 1)));
    }
}
