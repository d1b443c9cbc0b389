"""The ruleset's text; what it does to packets is shown in test_netns.py."""

from handfast_sidecar.config.ports import parse_ports
from handfast_sidecar.config.skips import Skips, parse_cidrs
from handfast_sidecar.interception.rules import RulesOptions, ruleset

GOLDEN = """\
table inet handfast
delete table inet handfast
table inet handfast {
	chain output {
		type nat hook output priority -100; policy accept;
		meta skuid 7443 return
		oif "lo" return
		meta l4proto tcp redirect to :14001
	}
	chain prerouting {
		type nat hook prerouting priority -100; policy accept;
		iif "lo" return
		tcp dport { 14008, 14020 } return
		meta l4proto tcp redirect to :14006
	}
}
"""


def test_the_rules_of_a_pod() -> None:
    assert ruleset() == GOLDEN


def test_what_they_depend_on_are_options() -> None:
    text = ruleset(RulesOptions(proxy_uid=1, outbound_port=2, inbound_port=3, direct_ports=(4,)))
    assert "meta skuid 1 return" in text
    assert "redirect to :2\n" in text
    assert "redirect to :3\n" in text
    assert "tcp dport { 4 } return" in text


SKIPPING = """\
table inet handfast
delete table inet handfast
table inet handfast {
	chain output {
		type nat hook output priority -100; policy accept;
		meta skuid 7443 return
		oif "lo" return
		ip daddr { 10.9.0.0/16, 192.0.2.7/32 } return
		ip6 daddr { fd09::/16 } return
		tcp dport { 5432, 6000-6010 } return
		meta l4proto tcp redirect to :14001
	}
	chain prerouting {
		type nat hook prerouting priority -100; policy accept;
		iif "lo" return
		tcp dport { 14008, 14020 } return
		tcp dport { 9090 } return
		meta l4proto tcp redirect to :14006
	}
}
"""


def test_what_is_skipped_returns_before_the_redirect() -> None:
    skips = Skips(
        parse_ports("9090"), parse_ports("6000-6010,5432"), parse_cidrs("192.0.2.7,fd09::/16,10.9.0.0/16,10.9.1.0/24")
    )
    assert ruleset(RulesOptions(skips=skips)) == SKIPPING
