"""The way from a signing certificate up to a root, among certificates that somebody put into a Secret. Pure.

Its one rule: a step up is a name, a key identifier and a signature that all fit, as OpenSSL takes it; a certificate
that is not on the way is neither sent nor trusted.
"""

from collections.abc import Iterator, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from handfast_operator.authority.issuer_certificate import (
    WEAK_HASHES,
    IssuerRefused,
    check_signature,
    name_of,
)
from handfast_sidecar.identity.leaf import extension_of


def find_path(signing: x509.Certificate, others: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """The shortest way from `signing` to a root among `others`, both included; a root is its own.

    Raises IssuerRefused where there is none, with the place where it ends.
    """
    reached: dict[x509.Certificate, tuple[x509.Certificate, ...]] = {signing: (signing,)}
    waiting = [signing]
    for here in waiting:
        if is_root(here):
            return reached[here]
        for above in _issuers(here, others):
            if above not in reached:
                reached[above] = (*reached[here], above)
                waiting.append(above)
    raise _no_way(waiting[-1], others)


def is_root(certificate: x509.Certificate) -> bool:
    """Whether it is signed by its own key."""
    return _issued_by(certificate, certificate)


def _issuers(certificate: x509.Certificate, others: Sequence[x509.Certificate]) -> Iterator[x509.Certificate]:
    """The longest-lived first: a root that was renewed with its key stands beside the old one."""
    found = (other for other in others if _issued_by(certificate, other))
    return iter(sorted(found, key=lambda each: each.not_valid_after_utc, reverse=True))


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if certificate.issuer != issuer.subject or not _identifiers_fit(certificate, issuer):
        return False
    if certificate != issuer:
        check_signature(certificate)
    elif isinstance(certificate.signature_hash_algorithm, WEAK_HASHES):
        return True  # our parser does not verify these any more, and nobody verifies a root's
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _identifiers_fit(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """OpenSSL goes past an issuer whose key identifier is another (X509_check_issued); a missing one fits."""
    wanted, found = (
        extension_of(certificate, x509.AuthorityKeyIdentifier),
        extension_of(issuer, x509.SubjectKeyIdentifier),
    )
    if wanted is None or found is None or wanted.value.key_identifier is None:
        return True
    return wanted.value.key_identifier == found.value.digest


def _no_way(end: x509.Certificate, others: Sequence[x509.Certificate]) -> IssuerRefused:
    wanted = end.issuer.rfc4514_string()[:120]
    if any(other.subject == end.issuer for other in others):
        return IssuerRefused(
            "broken_chain",
            f"the chain ends at {name_of(end)}: a certificate {wanted!r} is there, and another key than its signed:"
            " put in the one that did, as it was when it signed",
        )
    if any(map(is_root, others)):
        return IssuerRefused(
            "broken_chain",
            f"the chain ends at {name_of(end)}, whose issuer {wanted!r} is missing, and no root here signed it:"
            " put what is between them into tls.crt, below the signing certificate",
        )
    return IssuerRefused(
        "no_root",
        f"the chain ends at {name_of(end)}, whose issuer {wanted!r} is missing: put the root into ca.crt, as peers"
        " trust roots alone",
    )
