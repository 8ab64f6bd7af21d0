//! Groups read and counted.

use std::process::{Command, Stdio};

use super::*;

const MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
41 31 0:38 /box /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
nonsense
";

#[test]
fn groups_are_made_where_this_process_is_and_version_2_is_preferred() {
    let own = "9:devices:/other\n2:cpu,cpuacct:/user/one\n0::/box/app\n";
    let hierarchy = |kind, dir: &str| Hierarchy { kind, dir: dir.into() };
    assert_eq!(
        parse_hierarchies(MOUNTS, own),
        [
            hierarchy(Kind::Version2, "/sys/fs/cgroup/unified/app"),
            hierarchy(Kind::Version1, "/sys/fs/cgroup/cpu,cpuacct/user/one"),
        ]
    );
    assert_eq!(
        parse_hierarchies(MOUNTS, "")[0],
        hierarchy(Kind::Version2, "/sys/fs/cgroup/unified")
    );
    assert_eq!(parse_hierarchies("", own), []);
}

#[test]
fn times_are_read_in_the_units_of_their_kind() {
    assert_eq!(version1_seconds("1500000000\n"), Some(1.5));
    assert_eq!(version2_seconds("usage_usec 2500000\nuser_usec 1\n"), Some(2.5));
    assert_eq!(version1_seconds("much"), None);
    assert_eq!(version2_seconds("user_usec 1\n"), None);
}

#[test]
fn a_group_says_which_process_made_it() {
    assert_eq!(maker(&group_name(71, 0)), Some(71));
    assert_eq!(maker(&group_name(71, 2)), Some(71));
    assert_eq!(maker("kraken-bench-"), None);
    assert_eq!(maker("system.slice"), None);
}

/// Each kind counts the same process; where a kind is missing or refused it is not tested, but
/// with `KRAKEN_TESTS_NETNS` set one of them has to be there.
#[test]
fn cpu_time_of_a_process_is_counted_from_when_it_was_added() {
    let mut tested = 0;
    for hierarchy in hierarchies().unwrap() {
        let Some(groups) = Cgroups::create_in(&hierarchy, &["agent", "origin"]).unwrap() else {
            continue;
        };
        let dir = groups.dir.clone();
        assert_eq!(groups.cpu_seconds("agent").unwrap(), 0.0);
        assert_eq!(groups.add("nobody", 1).unwrap_err().kind(), ErrorKind::NotFound);

        // It waits until it is counted, then counts for a while, then waits again.
        let script = "read go; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; \
                      cat /proc/$$/schedstat; read end";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        groups.add("agent", child.id()).unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, b"go\n").unwrap();
        let mut said = String::new();
        let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut stdout, &mut said).unwrap();
        let nanos: f64 = said.split(' ').next().unwrap().parse().unwrap();
        let counted = groups.cpu_seconds("agent").unwrap();
        eprintln!("{:?}: {counted} s counted, {} s by schedstat", hierarchy.kind, nanos / 1e9);
        assert!(counted > 0.8 * nanos / 1e9, "{counted} s counted, {nanos} ns by the process");
        // The shell's start is not in it, but `cat` and the wait's end are.
        assert!(counted < 1.1 * nanos / 1e9 + 0.05, "{counted} s, {nanos} ns by the process");
        assert_eq!(groups.cpu_seconds("origin").unwrap(), 0.0);

        // It still runs, and is moved out.
        drop(groups);
        assert!(!dir.exists(), "{} is left", dir.display());
        drop(stdin);
        child.wait().unwrap();
        tested += 1;
    }
    if tested == 0 {
        assert!(std::env::var_os("KRAKEN_TESTS_NETNS").is_none(), "no control groups to be had");
        eprintln!("not tested: this user may make no control groups");
    }
}
