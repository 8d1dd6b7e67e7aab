package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// link is one accepted connection.
type link struct {
	conn   net.Conn
	frame  frame
	count  *account
	writes sync.Mutex
}

// feed is the WebSocket server. It writes frames that were made beforehand and reads what a client
// says between: pings, close.
type feed struct {
	plan  *plan
	tally *tally
	tls   *tls.Config

	mutex    sync.Mutex
	changed  *sync.Cond
	links    map[*link]struct{}
	accepted int
	pings    atomic.Int64
}

func newFeed(p *plan, t *tally) *feed {
	f := &feed{plan: p, tally: t, links: map[*link]struct{}{}}
	f.changed = sync.NewCond(&f.mutex)
	return f
}

func (f *feed) listen() ([]string, error) {
	if f.plan.certificate != "" {
		config, err := newCertificate(f.plan.certificate)
		if err != nil {
			return nil, err
		}
		f.tls = config
	}
	var addresses []string
	for host := 1; host <= f.plan.hosts; host++ {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:0", host))
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, listener.Addr().String())
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go f.serve(conn)
			}
		}()
	}
	return addresses, nil
}

func (f *feed) serve(conn net.Conn) {
	defer conn.Close()
	if tcp, ok := conn.(*net.TCPConn); ok {
		// What waits is bounded by the kernel no more than needed: the end of a run drains it.
		_ = tcp.SetWriteBuffer(256 << 10)
	}
	if f.tls != nil {
		conn = tls.Server(conn, f.tls)
	}
	reader := bufio.NewReaderSize(conn, 1024)
	deflate, err := f.shakeHands(conn, reader)
	if err != nil {
		return
	}
	l := &link{conn: conn}
	f.mutex.Lock()
	f.accepted++
	l.count = f.tally.open(f.accepted)
	message := compose(f.plan.size)
	putDigits(message[atConnection:atConnection+digitsConnection], int64(f.accepted))
	if deflate {
		l.frame = deflatedFrame(message, f.plan.binary)
	} else {
		l.frame = plainFrame(message, f.plan.binary)
	}
	f.links[l] = struct{}{}
	f.changed.Broadcast()
	f.mutex.Unlock()
	f.read(l, reader)
	f.mutex.Lock()
	delete(f.links, l)
	f.changed.Broadcast()
	f.mutex.Unlock()
}

func (f *feed) shakeHands(conn net.Conn, reader *bufio.Reader) (deflate bool, err error) {
	request, err := http.ReadRequest(reader)
	if err != nil {
		return false, err
	}
	digest := sha1.Sum([]byte(request.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(digest[:]) + "\r\n"
	offered := strings.Join(request.Header.Values("Sec-WebSocket-Extensions"), ",")
	if deflate = f.plan.deflate && strings.Contains(offered, "permessage-deflate"); deflate {
		answer += "Sec-WebSocket-Extensions: permessage-deflate\r\n"
	}
	_, err = io.WriteString(conn, answer+"\r\n")
	return deflate, err
}

// read answers pings and close until the connection ends.
func (f *feed) read(l *link, reader *bufio.Reader) {
	for {
		var head [2]byte
		if _, err := io.ReadFull(reader, head[:]); err != nil {
			return
		}
		size := uint64(head[1] & 0x7f)
		if size >= 126 {
			wide := make([]byte, 2)
			if size == 127 {
				wide = make([]byte, 8)
			}
			if _, err := io.ReadFull(reader, wide); err != nil {
				return
			}
			if len(wide) == 2 {
				size = uint64(binary.BigEndian.Uint16(wide))
			} else {
				size = binary.BigEndian.Uint64(wide)
			}
		}
		body := make([]byte, size+4) // clients mask (RFC 6455, section 5.3)
		if _, err := io.ReadFull(reader, body); err != nil {
			return
		}
		mask, payload := body[:4], body[4:]
		for i := range payload {
			payload[i] ^= mask[i%4]
		}
		switch head[0] & 0x0f {
		case 0x9:
			f.pings.Add(1)
			_ = l.write(append(header(0x8a, len(payload)), payload...))
		case 0x8:
			_ = l.write(append(header(0x88, len(payload)), payload...))
			return
		}
	}
}

func (l *link) write(b []byte) error {
	l.writes.Lock()
	defer l.writes.Unlock()
	_, err := l.conn.Write(b)
	return err
}

func (f *feed) waitOpen(wanted int, patience time.Duration) map[string]any {
	began := time.Now()
	timer := time.AfterFunc(patience, f.changed.Broadcast)
	defer timer.Stop()
	f.mutex.Lock()
	for len(f.links) < wanted && time.Since(began) < patience {
		f.changed.Wait()
	}
	f.mutex.Unlock()
	told := f.count()
	told["seconds"] = time.Since(began).Seconds()
	return told
}

func (f *feed) count() map[string]any {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return map[string]any{
		"event": "open", "open": len(f.links), "accepted": f.accepted, "pings": f.pings.Load(),
	}
}

// drop ends all connections without a close frame, as a server that dies does.
func (f *feed) drop() {
	for _, l := range f.all() {
		if tcp, ok := l.conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = l.conn.Close()
	}
	f.mutex.Lock()
	for len(f.links) > 0 {
		f.changed.Wait()
	}
	f.mutex.Unlock()
}

func (f *feed) all() []*link {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	links := make([]*link, 0, len(f.links))
	for l := range f.links {
		links = append(links, l)
	}
	return links
}

func newCertificate(path string) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
}
