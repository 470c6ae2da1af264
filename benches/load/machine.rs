//! Resources of the system and its processes.

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
};
use std::{fs, thread};

const SERVERS: usize = 0;
const CLIENTS: usize = 1;

/// Pins this process to a core. Returns the servers' core, if there are two cores.
pub(crate) fn pin_clients() -> Option<usize> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores >= 2 && pin(CLIENTS)).then_some(SERVERS)
}

/// Pins this process and its children to one core. Returns false if the system refuses.
pub(crate) fn pin(core: usize) -> bool {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).is_ok()
}

/// Raises the limit of open files to the hard limit, and returns it.
pub(crate) fn raise_open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    allowed.map_or(usize::MAX, |allowed| allowed as usize)
}

/// Nanoseconds of a clock that all processes share.
pub(crate) fn now() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// User and system CPU time of this process in nanoseconds.
pub(crate) fn cpu_time() -> u64 {
    nanoseconds(ClockId::ProcessCPUTime)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Resident memory of a process in bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    kibibytes(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// Memory of kernel objects, such as sockets and files, of the whole machine, in bytes.
pub(crate) fn kernel() -> u64 {
    kibibytes("/proc/meminfo", "Slab:")
}

fn kibibytes(path: &str, name: &str) -> u64 {
    let value = field(path, name);
    let number = value.split(' ').next();
    number
        .and_then(|number| number.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

/// The rest of the first line that begins with the field's name.
fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap_or_default().trim().to_owned()
}

/// Number of open files and sockets of a process.
pub(crate) fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Describes the machine and the pinning.
pub(crate) fn description(core: Option<usize>, rounds: usize) -> String {
    let processor = field("/proc/cpuinfo", "model name\t:");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = cores.matches("processor\t:").count();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let pinned = match core {
        Some(core) => format!("servers pinned to core {core}, clients to core {CLIENTS}"),
        None => "not pinned".to_owned(),
    };
    format!(
        "{processor}, {cores} cores, Linux {}; {pinned}; {rounds} rounds, medians; load average at the \
        end {load}.\n",
        kernel.trim_end()
    )
}
