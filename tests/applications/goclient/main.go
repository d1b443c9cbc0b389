// A client without a sidecar: Go's own TLS, with its own X.509-SVID. It dials twice with one session cache, as a client
// that would resume does, sends a line each time, half-closes, and prints what became of it as a line of JSON.
//
//	goclient ADDRESS CERTIFICATE KEY ROOTS LINE
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"os"
)

func main() {
	address, line := os.Args[1], os.Args[5]
	pair, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
	check(err)
	roots := x509.NewCertPool()
	bundle, err := os.ReadFile(os.Args[4])
	check(err)
	roots.AppendCertsFromPEM(bundle)
	config := &tls.Config{
		Certificates:       []tls.Certificate{pair},
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
		NextProtos:         []string{"h2", "http/1.1"},
		// An SVID names a workload, not a host: so the chain is verified, and whose it is, is printed.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			between := x509.NewCertPool()
			for _, each := range state.PeerCertificates[1:] {
				between.AddCert(each)
			}
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
			return err
		},
	}
	for range 2 {
		conn, err := tls.Dial("tcp", address, config)
		check(err)
		_, err = conn.Write([]byte(line + "\n"))
		check(err)
		check(conn.CloseWrite())
		answer, err := io.ReadAll(conn)
		check(err)
		state := conn.ConnectionState()
		check(json.NewEncoder(os.Stdout).Encode(map[string]any{
			"version":  tls.VersionName(state.Version),
			"resumed":  state.DidResume,
			"protocol": state.NegotiatedProtocol,
			"server":   state.PeerCertificates[0].URIs[0].String(),
			"answer":   string(answer),
		}))
		check(conn.Close())
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
