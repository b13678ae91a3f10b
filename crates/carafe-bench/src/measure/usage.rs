//! What a process takes of the machine.

use std::fs;

use crate::outcome::Outcome;

/// Nanoseconds of processor time that all threads of a process have had, the kernel's work for them
/// included.
pub(crate) fn processor(id: u32) -> Outcome<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{id}/task"))? {
        let times = fs::read_to_string(thread?.path().join("schedstat"))?;
        let time = times.split(' ').next().ok_or("schedstat is empty")?;
        sum += time.parse::<u64>()?;
    }
    Ok(sum)
}

/// Bytes of user memory.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// All that is in memory, the program included.
    pub(crate) resident: u64,
    /// The memory that the program has allocated.
    pub(crate) anonymous: u64,
}

impl Memory {
    pub(crate) fn of(id: u32) -> Outcome<Self> {
        let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
        Ok(Self {
            resident: kib(&rollup, "Rss:")? << 10,
            anonymous: kib(&rollup, "Anonymous:")? << 10,
        })
    }
}

/// The most that a process has ever had in memory.
pub(crate) fn peak(id: u32) -> Outcome<u64> {
    Ok(kib(&fs::read_to_string(format!("/proc/{id}/status"))?, "VmHWM:")? << 10)
}

/// Bytes that the kernel has for its own things, sockets among them.
pub(crate) fn kernel() -> Outcome<u64> {
    let memory = fs::read_to_string("/proc/meminfo")?;
    let all = ["Slab:", "KernelStack:", "PageTables:"].iter().map(|name| kib(&memory, name));
    Ok(all.sum::<Outcome<u64>>()? << 10)
}

fn kib(text: &str, name: &str) -> Outcome<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_suffix("kB"));
    Ok(value.ok_or_else(|| format!("the kernel does not report {name}"))?.trim().parse()?)
}

/// Bytes in the send queues of all connections that a local port has.
pub(crate) fn send_queues(port: u16) -> Outcome<u64> {
    let sockets = fs::read_to_string("/proc/net/tcp")?;
    Ok(sockets.lines().skip(1).filter_map(|line| send_queue(line, port)).sum())
}

/// `sl local_address rem_address st tx_queue:rx_queue …`, in hexadecimal.
fn send_queue(line: &str, port: u16) -> Option<u64> {
    let mut words = line.split_ascii_whitespace();
    let (_, local) = words.nth(1)?.split_once(':')?;
    let (_, state) = (words.next()?, words.next()?);
    let (waiting, _) = words.next()?.split_once(':')?;
    const ESTABLISHED: &str = "01";
    let ours = u16::from_str_radix(local, 16) == Ok(port) && state == ESTABLISHED;
    ours.then(|| u64::from_str_radix(waiting, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::send_queue;

    #[test]
    fn the_send_queue_of_an_established_connection_is_read() {
        let line = "1: 0100007F:0BB8 0201007F:C350 01 000000FF:00000001 02:000 00000000 0 0 1 1 0 20 4 30 10 -1";
        assert_eq!(send_queue(line, 3000), Some(255));
        assert_eq!(send_queue(line, 3001), None, "another port's");
        assert_eq!(send_queue(&line.replace(" 01 ", " 0A "), 3000), None, "one that listens");
    }
}
