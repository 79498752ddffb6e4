package host_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/towpath/towpath/link/cable"
)

// certificate is self-signed, for a name.
func certificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	must(t, err)
	leaf, err := x509.ParseCertificate(der)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// TestHTTP2 serves HTTP/2 over TLS, many requests at once over one connection.
func TestHTTP2(t *testing.T) {
	a, b := pair(t, cable.Config{})
	for _, ip := range b.Addresses().All() {
		if !ip.Prefix.Addr().IsLoopback() && !ip.Prefix.Addr().IsLinkLocalUnicast() {
			must(t, a.AddName("web.test", ip.Prefix.Addr()))
		}
	}
	cert, pool := certificate(t, "web.test")
	l, err := b.Listen("tcp", ":443")
	must(t, err)
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Proto, " ")
			io.Copy(w, r.Body)
		}),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
	}
	go srv.ServeTLS(l, "", "")
	defer srv.Close()
	tr := &http.Transport{DialContext: a.DialContext, TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	c := http.Client{Transport: tr, Timeout: 20 * time.Second}
	body := strings.Repeat("towpath ", 10000)
	get := func() {
		resp, err := c.Post("https://web.test/", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "HTTP/2.0 "+body {
			t.Errorf("%.40q, %d bytes, %v", got, len(got), err)
		}
	}
	get()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(get)
	}
	wg.Wait()
	if n := b.Stats().Established; n > 3 {
		t.Errorf("%d connections for HTTP/2, want one", n)
	}
}

// TestResolver lets package net's resolver ask a DNS server on another host.
func TestResolver(t *testing.T) {
	a, b := pair(t, cable.Config{})
	s, err := b.ListenPacket("udp", ":53")
	must(t, err)
	defer s.Close()
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := s.ReadFrom(buf)
			if err != nil {
				return
			}
			var q dnsmessage.Message
			if q.Unpack(buf[:n]) != nil || len(q.Questions) != 1 {
				continue
			}
			q.Response, q.RecursionAvailable = true, true
			q.Additionals = nil
			if q.Questions[0].Type == dnsmessage.TypeA {
				q.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 60},
					Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}},
				}}
			}
			answer, err := q.Pack()
			if err == nil {
				s.WriteTo(answer, from)
			}
		}
	}()
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return a.DialContext(ctx, network, "10.0.0.2:53")
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ips, err := r.LookupNetIP(ctx, "ip4", "somewhere.test.")
	if err != nil || len(ips) != 1 || ips[0].Unmap().String() != "192.0.2.7" {
		t.Errorf("%v, %v", ips, err)
	}
}

// TestManyConnections opens 10,000 connections between two hosts, all at once,
// and passes a byte over each both ways.
func TestManyConnections(t *testing.T) {
	n := 10000
	if raceEnabled {
		n = 1000
	}
	a, b := pair(t, cable.Config{})
	l, err := b.Listen("tcp", ":80")
	must(t, err)
	defer l.Close()
	servers := make(chan net.Conn, n)
	go func() {
		for range n {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			servers <- c
		}
	}()
	clients := make([]net.Conn, n)
	for i := range clients {
		clients[i], err = a.Dial("tcp", "10.0.0.2:80")
		must(t, err)
		clients[i].Write([]byte{byte(i)})
	}
	if got := b.Stats().TCPConnections; got != n {
		t.Errorf("%d connections, want %d", got, n)
	}
	for range n {
		s := <-servers
		buf := make([]byte, 1)
		_, err := io.ReadFull(s, buf)
		must(t, err)
		s.Write(buf)
		defer s.Close()
	}
	for i, c := range clients {
		buf := make([]byte, 1)
		if _, err := io.ReadFull(c, buf); err != nil || buf[0] != byte(i) {
			t.Fatalf("connection %d: %v %v", i, buf, err)
		}
		c.Close()
	}
}
