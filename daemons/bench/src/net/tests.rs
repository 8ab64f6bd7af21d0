//! Names, addresses and commands of hosts.

use super::*;

fn spec(name: &str) -> HostSpec {
    HostSpec { name: name.to_owned(), link: None }
}

#[test]
fn hosts_on_loopback_have_an_address_each_and_no_counters() {
    let specs: Vec<_> = (0..300).map(|index| spec(&format!("agent{index}"))).collect();
    let network = Network::loopback(&specs);
    assert!(!network.is_namespaced());
    assert_eq!(network.host("agent0").addr, Ipv4Addr::new(127, 77, 0, 1));
    assert_eq!(network.host("agent255").addr, Ipv4Addr::new(127, 77, 1, 0));
    assert_eq!(network.sent_bytes("agent0").unwrap(), None);
    let program = Path::new("/bin/true");
    assert_eq!(network.host("agent0").command(program).get_program(), program);
    network.close().unwrap();
}

#[test]
#[should_panic(expected = "no host is called \"agent1\"")]
fn an_unknown_host_is_a_mistake_of_the_program() {
    Network::loopback(&[spec("agent0")]).host("agent1");
}

#[test]
fn names_that_make_no_device_are_refused() {
    for name in ["", "agent1234", "a b", "Agent", "a/b", "br", "-x"] {
        assert_eq!(check_specs(&[spec(name)]).unwrap_err().kind(), ErrorKind::Invalid, "{name:?}");
    }
    check_specs(&[spec("agent123"), spec("hub")]).unwrap();
    assert!(check_specs(&[spec("hub"), spec("hub")]).is_err());
    assert!(check_specs(&[HostSpec { link: Some(Rate(0)), ..spec("hub") }]).is_err());
    let many: Vec<_> = (0..=HOSTS_MAX).map(|index| spec(&format!("a{index}"))).collect();
    assert_eq!(check_specs(&many).unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn a_namespace_says_which_process_made_it() {
    assert_eq!(leftovers::maker(&format!("{}-agent1", leftovers::prefix(71, 0))), Some(71));
    assert_eq!(leftovers::maker(&format!("{}-br", leftovers::prefix(71, 3))), Some(71));
    for name in ["krb71", "krb-br", "krbx-br", "krb71x-br", "krb71.-br", "kr71-br", "web"] {
        assert_eq!(leftovers::maker(name), None, "{name}");
    }
}

#[test]
fn a_host_knows_every_other_and_not_itself() {
    let specs = [spec("a"), spec("b"), spec("c")];
    let lines = host_lines(&specs, 1, address(NAMESPACES_NET, 1));
    assert!(lines.contains("addr add 10.77.0.2/16 dev eth0\n"), "{lines}");
    assert!(lines.contains("src 10.77.0.2 congctl cubic\n"), "{lines}");
    assert!(lines.contains("route change local 10.77.0.2 dev eth0 table local"), "{lines}");
    assert!(lines.contains("neigh add 10.77.0.1 lladdr 02:4b:52:00:00:01 dev eth0"), "{lines}");
    assert!(!lines.contains("neigh add 10.77.0.2 "), "{lines}");
}

#[test]
fn counters_are_read_from_what_ip_prints() {
    let shown = r#"[{"ifname":"v-a","stats64":{"rx":{"bytes":123},"tx":{"bytes":4}}}]"#;
    assert_eq!(received_bytes(shown), Some(123));
    for shown in ["", "[]", "{}", r#"[{"stats64":{"rx":{"bytes":-1}}}]"#] {
        assert_eq!(received_bytes(shown), None, "{shown}");
    }
}
