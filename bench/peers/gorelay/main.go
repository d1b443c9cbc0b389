// A peer of the benchmark: what a small TLS relay on Go's standard library costs. One process a side:
// the client side accepts plaintext and dials mutual TLS 1.3, the server side does the opposite.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
)

// A connection that can be closed one way: *net.TCPConn and *tls.Conn.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

func main() {
	side := flag.String("side", "", "client or server")
	accept := flag.String("accept", "", "address to listen on")
	connect := flag.String("connect", "", "address to dial")
	identity := flag.String("identity", "", "directory with tls.crt, tls.key and ca.crt")
	name := flag.String("name", "", "the server's DNS name")
	flag.Parse()

	config := tlsConfig(*identity, *name)
	listener, err := net.Listen("tcp", *accept)
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(conn, *side == "server", *connect, config)
	}
}

func tlsConfig(identity, name string) *tls.Config {
	leaf, err := tls.LoadX509KeyPair(filepath.Join(identity, "tls.crt"), filepath.Join(identity, "tls.key"))
	if err != nil {
		log.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(identity, "ca.crt"))
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		log.Fatal("no certificate in ca.crt")
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{leaf},
		RootCAs:      roots,
		ClientCAs:    roots,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ServerName:   name,
		// The other peers resume sessions by default; Go does once it may keep them.
		ClientSessionCache: tls.NewLRUClientSessionCache(64),
	}
}

func serve(conn net.Conn, acceptsTLS bool, connect string, config *tls.Config) {
	defer conn.Close()
	dialled, err := net.Dial("tcp", connect)
	if err != nil {
		log.Print(err)
		return
	}
	defer dialled.Close()
	near, far := conn.(halfCloser), dialled.(halfCloser)
	if acceptsTLS {
		near = tls.Server(conn, config)
	} else {
		far = tls.Client(dialled, config)
	}
	done := make(chan struct{})
	go func() {
		relay(far, near)
		close(done)
	}()
	relay(near, far)
	<-done
}

func relay(to, from halfCloser) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	to.CloseWrite()
}
