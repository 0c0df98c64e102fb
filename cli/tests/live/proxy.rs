//! The proxy's redirect: who speaks to a web server speaks to the proxy, and does not notice; all else is routed on.

use crate::echo::{tcp, tcp_server};
use crate::net::{Net, allowed};

#[test]
fn who_speaks_to_a_web_server_speaks_to_the_proxy() {
    if !allowed("who speaks to a web server speaks to the proxy") {
        return;
    }
    let net = Net::new(&["net", "proxy"]);
    let _sync = net.load_hop("proxy", None);
    net.connect("net", "203.0.113.254/24");
    net.ip("net", &["route", "add", "default", "via", "203.0.113.2"]);
    net.connect("proxy", "10.2.0.10/24");
    net.ip("proxy", &["route", "add", "default", "via", "10.2.0.1"]);
    tcp_server(&net, "proxy", 3128);
    // Nobody has this address.
    for _ in 0..20 {
        tcp(&net, "net", "198.51.100.7:80", 100_000);
    }
    tcp_server(&net, "proxy", 22);
    tcp(&net, "net", "10.2.0.10:22", 100_000);
    let mappings = net.table("redirect.mappings");
    assert_eq!(mappings["entries"].as_array().map(Vec::len), Some(20), "{mappings}");
}
