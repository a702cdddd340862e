//! What a process of the machine uses, as /proc has it.

use std::time::Duration;

use rdev_tests::Outcome;

/// Resident memory.
pub(crate) fn resident_bytes(pid: u32) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .ok_or("no VmRSS")?;
    Ok(kibibytes.trim().parse::<u64>()? * 1024)
}

/// Time on a processor since it began, to a hundredth of a second.
pub(crate) fn busy(pid: u32) -> Outcome<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(')').ok_or("no fields")?.1;
    // In user mode and in the kernel; the first field behind the name is the third of all.
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(str::parse::<u64>).sum::<Result<_, _>>()?;
    let milliseconds = ticks * 1_000 / rustix::param::clock_ticks_per_second();
    Ok(Duration::from_millis(milliseconds))
}
