//! What a query may take of this machine, unless told otherwise: so much that few notice, and never all of it.

/// Half of the memory, in bytes, of the machine or of the container if that has less; none where the system does not say.
pub fn memory() -> Option<usize> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let all = [kibibytes(&meminfo, "MemTotal:"), of_container()].into_iter().flatten().min()?;
    usize::try_from(all / 2).ok()
}

/// Half of what is free where temporary files go, in bytes.
pub fn temporary_files() -> Option<u64> {
    let disk = rustix::fs::statvfs(std::env::temp_dir()).ok()?;
    Some(disk.f_bavail * disk.f_frsize / 2)
}

/// Bytes that the container may have; none without one, or without a limit.
pub(crate) fn of_container() -> Option<u64> {
    std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?.trim().parse().ok()
}

/// A field of `/proc/meminfo`, in bytes.
pub(crate) fn kibibytes(meminfo: &str, field: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "MemTotal:       24530000 kB\nMemFree:        17000000 kB\n";
        assert_eq!(kibibytes(text, "MemFree:"), Some(17_000_000 << 10));
        assert_eq!(kibibytes(text, "MemAvailable:"), None);
    }

    #[test]
    fn a_query_never_gets_everything() {
        if let Some(memory) = memory() {
            let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
            assert!(memory > 0 && (memory as u64) < kibibytes(&meminfo, "MemTotal:").unwrap());
        }
    }
}
