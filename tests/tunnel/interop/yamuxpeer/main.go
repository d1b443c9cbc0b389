// HashiCorp's yamux, told what to do by lines on standard input: the other side of test_hashicorp_yamux.py.
//
// A line is "<stream> <verb> <argument>". Everything that happens is answered by one line on standard output, so that
// the test waits for events and never for time. Bytes are those of a repeated pattern, which both sides know; sums are
// SHA-256 of what was read.
package main

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

const period = 65521 // a prime: bytes that are lost or doubled shift everything after them

type peer struct {
	session *yamux.Session
	mutex   sync.Mutex
	streams map[string]*yamux.Stream
}

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: yamuxpeer server|client ADDRESS WINDOW CLOSE_TIMEOUT")
	}
	window, err := strconv.ParseUint(os.Args[3], 10, 32)
	check(err)
	closeTimeout, err := time.ParseDuration(os.Args[4])
	check(err)
	config := yamux.DefaultConfig()
	config.MaxStreamWindowSize = uint32(window)
	config.StreamCloseTimeout = closeTimeout
	config.KeepAliveInterval = 50 * time.Millisecond
	connection, err := net.Dial("tcp", os.Args[2])
	check(err)
	role := yamux.Server
	if os.Args[1] == "client" {
		role = yamux.Client
	}
	session, err := role(connection, config)
	check(err)
	p := &peer{session: session, streams: map[string]*yamux.Stream{}}
	go p.accept()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		p.do(words[0], words[1], append(words[2:], "")[0])
	}
	session.Close()
}

func (p *peer) accept() {
	for {
		stream, err := p.session.AcceptStream()
		if err != nil {
			say("session", "over", strings.ReplaceAll(err.Error(), " ", "_"))
			return
		}
		name := strconv.Itoa(int(stream.StreamID()))
		p.keep(name, stream)
		say(name, "accepted", "")
	}
}

func (p *peer) do(name, verb, argument string) {
	switch verb {
	case "open":
		stream, err := p.session.OpenStream()
		if err == nil {
			p.keep(name, stream)
		}
		say(name, "opened", outcome(err))
	case "ping":
		_, err := p.session.Ping()
		say(name, "pinged", outcome(err))
	case "goaway":
		say(name, "gone", outcome(p.session.GoAway()))
	case "streams":
		say(name, "streams", strconv.Itoa(p.session.NumStreams()))
	case "write":
		count, err := strconv.Atoi(argument)
		check(err)
		go func() {
			_, err := p.stream(name).Write(pattern(count))
			say(name, "wrote", outcome(err))
		}()
	case "read": // to the end
		go p.read(name, -1)
	case "take": // so many bytes
		count, err := strconv.ParseInt(argument, 10, 64)
		check(err)
		go p.read(name, count)
	case "echo":
		go p.echo(name)
	case "close":
		say(name, "closed", outcome(p.stream(name).Close()))
	default:
		log.Fatalf("unknown verb %q", verb)
	}
}

func (p *peer) read(name string, count int64) {
	sum := sha256.New()
	var source io.Reader = p.stream(name)
	if count >= 0 {
		source = io.LimitReader(source, count)
	}
	read, err := io.Copy(sum, source)
	say(name, "read", fmt.Sprintf("%d:%x:%s", read, sum.Sum(nil), outcome(err)))
}

func (p *peer) echo(name string) {
	stream := p.stream(name)
	_, err := io.Copy(stream, stream)
	err = errors.Join(err, stream.Close())
	say(name, "echoed", outcome(err))
}

func (p *peer) keep(name string, stream *yamux.Stream) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.streams[name] = stream
}

func (p *peer) stream(name string) *yamux.Stream {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.streams[name]
}

func pattern(count int) []byte {
	data := make([]byte, count)
	for at := range data {
		data[at] = byte(at % period * 31 >> 3)
	}
	return data
}

func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return strings.ReplaceAll(err.Error(), " ", "_")
}

var output sync.Mutex

func say(words ...string) {
	output.Lock()
	defer output.Unlock()
	fmt.Println(strings.TrimSpace(strings.Join(words, " ")))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
