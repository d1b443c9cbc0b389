"""OpenSSL's verdicts on a peer's chain, as stable words for metrics and sentences for people. Pure.

Tunnels, foreign peers and the directory's stream say the same word for the same thing, whichever TLS library found it.
"""

from typing import Final

from handfast_sidecar.errors import BadCertificate

CERT_CHAIN_TOO_LONG: Final = 22
_WORDS: Final = {
    9: "not_yet_valid",  # CERT_NOT_YET_VALID
    10: "expired",  # CERT_HAS_EXPIRED
    7: "bad_signature",  # CERT_SIGNATURE_FAILURE
    2: "untrusted",  # UNABLE_TO_GET_ISSUER_CERT
    18: "untrusted",  # DEPTH_ZERO_SELF_SIGNED_CERT
    19: "untrusted",  # SELF_SIGNED_CERT_IN_CHAIN
    20: "untrusted",  # UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: "untrusted",  # UNABLE_TO_VERIFY_LEAF_SIGNATURE
    27: "untrusted",  # CERT_UNTRUSTED
    CERT_CHAIN_TOO_LONG: "chain_too_long",
    25: "path_length",  # PATH_LENGTH_EXCEEDED
    26: "wrong_purpose",  # INVALID_PURPOSE
    32: "invalid_ca",  # KEYUSAGE_NO_CERTSIGN
    79: "invalid_ca",  # INVALID_CA
    80: "invalid_ca",  # PATHLEN_INVALID_FOR_NON_CA
    81: "invalid_ca",  # PATHLEN_WITHOUT_KU_KEY_CERT_SIGN
    89: "invalid_ca",  # CA_BCONS_NOT_CRITICAL
    92: "invalid_ca",  # CA_CERT_MISSING_KEY_USAGE
    82: "key_usage_cert_sign",  # KU_KEY_CERT_SIGN_INVALID_FOR_NON_CA
    34: "critical_extension",  # UNHANDLED_CRITICAL_EXTENSION
    47: "name_constraints",  # PERMITTED_VIOLATION
    48: "name_constraints",  # EXCLUDED_VIOLATION
    49: "name_constraints",  # SUBTREE_MINMAX
    51: "name_constraints",  # UNSUPPORTED_CONSTRAINT_TYPE
    52: "name_constraints",  # UNSUPPORTED_CONSTRAINT_SYNTAX
    53: "name_constraints",  # UNSUPPORTED_NAME_SYNTAX
    85: "no_key_identifier",  # MISSING_AUTHORITY_KEY_IDENTIFIER
    86: "no_key_identifier",  # MISSING_SUBJECT_KEY_IDENTIFIER
    66: "weak_key",  # EE_KEY_TOO_SMALL
    67: "weak_key",  # CA_KEY_TOO_SMALL
    68: "weak_signature",  # CA_MD_TOO_WEAK
    93: "not_v3",  # EXTENSIONS_REQUIRE_VERSION_3
}
"""By the X509_V_ERR_ numbers of openssl/x509_vfy.h, which are part of OpenSSL's ABI."""
_SENTENCES: Final = {
    "not_yet_valid": "is not valid yet: compare the clocks of both nodes and of handfast-controller",
    "expired": "has expired: is handfast-controller running, and are the clocks of both nodes right?",
    "bad_signature": "carries a signature that its issuer did not make: somebody changed it",
    "untrusted": "is not signed by our trust domain's bundle: is the peer of another trust domain?",
    "chain_too_long": "comes with a chain of more than 4 certificates",
    "path_length": "has more intermediates above it than one of its issuers allows (pathLenConstraint)",
    "wrong_purpose": "or one of its issuers is for another purpose (extendedKeyUsage) than to prove who is there",
    "invalid_ca": "is signed by a certificate that may not sign: no CA, or one without keyCertSign",
    "key_usage_cert_sign": "may sign certificates (keyCertSign): a signer is no workload",
    "critical_extension": "has a critical extension that nobody here knows",
    "name_constraints": "has a name that one of its issuers may not give (nameConstraints)",
    "no_key_identifier": "or one of its issuers does not say which key signed it, or which it has (key identifiers)",
    "weak_key": "or one of its issuers has a key of under 112 bits of security, such as RSA-1024 or P-192",
    "weak_signature": "or one of its issuers is signed with a broken digest, such as SHA-1",
    "not_v3": "is no version 3 certificate, and has extensions",
}
WORDS: Final = frozenset(_SENTENCES)
"""Every word that `refusal` gives, `other` aside."""


def refusal(number: int, text: str = "") -> BadCertificate:
    """What an X509_V_ERR_ number means; `text` is OpenSSL's own, for one that has no word here."""
    word = _WORDS.get(number)
    if word is None:
        return BadCertificate("other", f"the peer's certificate was refused: {text or 'X509_V_ERR'} ({number})")
    return BadCertificate(word, f"the peer's certificate {_SENTENCES[word]}")
