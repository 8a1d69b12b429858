"""Who reaches whom, by the rules of NetworkPolicy."""


def matches(selector, labels):
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def is_peer(peer, place, labels, home):
    if "ipBlock" in peer:
        return False
    spaces = peer.get("namespaceSelector")
    same = place == home if spaces is None else matches(spaces, {"kubernetes.io/metadata.name": place})
    return same and matches(peer.get("podSelector", {}), labels)


def allowed(policies, way, pod, other, port):
    """Whether the policies that select a pod let traffic through in one direction."""
    place, labels = pod
    ours = [
        p
        for p in policies
        if p["metadata"]["namespace"] == place
        and way in p["spec"]["policyTypes"]
        and matches(p["spec"]["podSelector"], labels)
    ]
    key, side = ("ingress", "from") if way == "Ingress" else ("egress", "to")
    return not ours or any(
        ("ports" not in rule or port in {p["port"] for p in rule["ports"]})
        and (side not in rule or any(is_peer(peer, *other, place) for peer in rule[side]))
        for p in ours
        for rule in p["spec"].get(key, [])
    )


def reaches(policies, source, target, port):
    return allowed(policies, "Egress", source, target, port) and allowed(policies, "Ingress", target, source, port)
