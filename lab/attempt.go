package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/lab/machine"
	"github.com/towpath/towpath/run"
)

// attemptEnv is the environment variable that makes this program try something
// on a machine, which it holds as JSON, and print a report.
const attemptEnv = "TOWPATH_LAB_ATTEMPT"

const (
	pingEvery   = 100 * time.Millisecond
	resendEvery = 400 * time.Millisecond
	answerMax   = 1 << 20 // bytes of an answer that are looked at
)

// initCalled keeps programs that forget Init from starting themselves again.
var initCalled atomic.Bool

// Init must be the first thing that main, or TestMain, of a program calls that
// brings up labs with machines. It includes [machine.Init] and [run.Init]. In the processes
// that machines and their expectations are made of it never returns, everywhere
// else it does nothing.
func Init() {
	machine.Init()
	run.Init()
	initCalled.Store(true)
	task, ok := os.LookupEnv(attemptEnv)
	if !ok {
		return
	}
	var a attempt
	var r report
	if err := json.Unmarshal([]byte(task), &a); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", attemptEnv, err)
		os.Exit(2)
	}
	seen, err := a.run(context.Background(), kernelNet{})
	if r.Seen = seen; err != nil {
		r.Error = err.Error()
	}
	json.NewEncoder(os.Stdout).Encode(r)
	os.Exit(0)
}

// A report is what an attempt on a machine prints.
type report struct{ Seen, Error string }

// network is what attempts are made on: a towpath host's, or the kernel's that
// the process is in.
type network interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	lookup(ctx context.Context, name string) (netip.Addr, error)
	ping(ctx context.Context, to netip.Addr, seq uint16) (time.Duration, error)
}

// hostNet is a towpath host's network.
type hostNet struct{ *host.Host }

func (h hostNet) lookup(_ context.Context, name string) (netip.Addr, error) {
	all, err := h.LookupNetIP(name)
	if err != nil {
		return netip.Addr{}, err
	}
	return all[0], nil
}

func (h hostNet) ping(ctx context.Context, to netip.Addr, seq uint16) (time.Duration, error) {
	r, err := h.Ping(ctx, to, host.PingOptions{Seq: seq})
	return r.RTT, err
}

// kernelNet is the network of the kernel.
type kernelNet struct{}

var kernelDialer = net.Dialer{Resolver: &net.Resolver{PreferGo: true}}

func (kernelNet) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return kernelDialer.DialContext(ctx, network, address)
}

func (kernelNet) lookup(ctx context.Context, name string) (netip.Addr, error) {
	all, err := kernelDialer.Resolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return netip.Addr{}, err
	}
	return all[0].Unmap(), nil
}

// run makes the attempt and says what was seen, or why it failed.
func (a *attempt) run(ctx context.Context, n network) (seen string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, a.Within, errLate(a.Within))
	defer cancel()
	switch a.Verb {
	case verbPing:
		seen, err = a.ping(ctx, n)
	case verbGet:
		seen, err = a.get(ctx, n)
	case verbTCP:
		seen, err = a.tcp(ctx, n)
	case verbUDP:
		seen, err = a.udp(ctx, n)
	default:
		err = fmt.Errorf("nobody can %q", a.Verb)
	}
	for _, late := range []error{context.DeadlineExceeded, context.Canceled, os.ErrDeadlineExceeded} {
		if ctx.Err() != nil && errors.Is(err, late) {
			return "", context.Cause(ctx)
		}
	}
	return seen, err
}

// errLate is the error of what did not happen in time.
type errLate time.Duration

func (e errLate) Error() string { return fmt.Sprintf("no answer within %v", time.Duration(e)) }

func (a *attempt) ping(ctx context.Context, n network) (string, error) {
	to, err := netip.ParseAddr(a.Target)
	if err != nil {
		if to, err = n.lookup(ctx, a.Target); err != nil {
			return "", err
		}
	}
	type reply struct {
		rtt time.Duration
		err error
	}
	replies := make(chan reply)
	inner, cancel := context.WithCancel(ctx)
	sent, answered, failed := 0, 0, 0
	var sum time.Duration
	var last error
	defer func() { // until all have come back, for they use the host
		cancel()
		for range sent - answered - failed {
			<-replies
		}
	}()
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	send := func() {
		sent++
		seq := uint16(sent)
		go func() {
			rtt, err := n.ping(inner, to, seq)
			replies <- reply{rtt, err}
		}()
	}
	send()
	for {
		select {
		case <-tick.C:
			if a.Count == 0 || sent < a.Count {
				send()
			}
			continue
		case r := <-replies:
			switch {
			case r.err != nil:
				failed++
				last = r.err
			case r.rtt > a.Within: // it came, and was looked at, too late
				failed++
			default:
				answered++
				sum += r.rtt
			}
		case <-ctx.Done():
		}
		late := ctx.Err() != nil
		switch {
		case a.Loss != nil && (late || answered+failed == a.Count):
			lost := 100 * float64(sent-answered) / float64(sent)
			text := fmt.Sprintf("%d of %d answered, %.3g%% lost", answered, sent, lost)
			if answered > 0 {
				text += fmt.Sprintf(", %.3g ms", float64(sum.Microseconds())/1e3/float64(answered))
			}
			if !a.Loss.holds(lost) {
				return "", errors.New(text)
			}
			return text, nil
		case a.Loss == nil && answered > 0:
			return fmt.Sprintf("answered after %.3g ms", float64(sum.Microseconds())/1e3), nil
		case late:
			if last != nil && !errors.Is(last, context.Canceled) && !errors.Is(last, context.DeadlineExceeded) {
				return "", fmt.Errorf("no answer within %v: %w", a.Within, last)
			}
			return "", errLate(a.Within)
		case a.Loss == nil && a.Count > 0 && failed == a.Count:
			return "", last
		}
	}
}

func (a *attempt) get(ctx context.Context, n network) (string, error) {
	transport := &http.Transport{DialContext: n.DialContext, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Target, nil)
	if err != nil {
		return "", err
	}
	begin := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return "", unwrapURL(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	switch {
	case err != nil:
		return "", fmt.Errorf("after %d bytes: %w", len(body), err)
	case a.Status != 0 && resp.StatusCode != a.Status, a.Status == 0 && resp.StatusCode >= http.StatusBadRequest:
		return "", fmt.Errorf("the server answered %s", resp.Status)
	case !strings.Contains(string(body), a.Contains):
		return "", fmt.Errorf("the answer begins with %q and does not contain %q", head(body), a.Contains)
	}
	return fmt.Sprintf("%s, %d bytes in %.3g ms", resp.Status, len(body), milliseconds(time.Since(begin))), nil
}

// unwrapURL takes the method and the URL off, which the reader knows.
func unwrapURL(err error) error {
	var u interface{ Unwrap() error }
	if errors.As(err, &u) && strings.HasPrefix(err.Error(), "Get ") {
		return u.Unwrap()
	}
	return err
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

func head(b []byte) []byte { return b[:min(len(b), 40)] }

func (a *attempt) tcp(ctx context.Context, n network) (string, error) {
	begin := time.Now()
	c, err := n.DialContext(ctx, "tcp", a.Target)
	took := milliseconds(time.Since(begin))
	if a.Refused {
		return refused(err, c)
	}
	if err != nil {
		return "", err
	}
	defer c.Close()
	if a.Send == "" && a.Receive == "" {
		return fmt.Sprintf("connected in %.3g ms", took), nil
	}
	deadline, _ := ctx.Deadline()
	c.SetDeadline(deadline)
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	if _, err := io.WriteString(c, a.Send); err != nil {
		return "", err
	}
	var got []byte
	buf := make([]byte, 4096)
	for !strings.Contains(string(got), a.Receive) || a.Receive == "" && len(got) == 0 {
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if n == 0 && err != nil || len(got) > answerMax {
			return "", notReceived(got, a.Receive, err)
		}
	}
	return fmt.Sprintf("received %q", head(got)), nil
}

// refused is the outcome of an attempt that was to be refused.
func refused(err error, c net.Conn) (string, error) {
	switch {
	case err == nil:
		c.Close()
		return "", errors.New("it was not refused but taken")
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused", nil
	}
	return "", err
}

func notReceived(got []byte, want string, err error) error {
	switch {
	case len(got) == 0 && errors.Is(err, io.EOF):
		return errors.New("it was closed without an answer")
	case len(got) == 0:
		return err
	}
	return fmt.Errorf("received %q, which does not contain %q", head(got), want)
}

// udp sends until there is an answer, for datagrams may be lost.
func (a *attempt) udp(ctx context.Context, n network) (string, error) {
	c, err := n.DialContext(ctx, "udp", a.Target)
	if err != nil {
		return "", err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, 65536)
	var got []byte
	for ctx.Err() == nil {
		_, err := io.WriteString(c, a.Send)
		var m int
		if err == nil {
			c.SetReadDeadline(time.Now().Add(resendEvery))
			if ctx.Err() != nil {
				break // the deadline of AfterFunc was overwritten
			}
			m, err = c.Read(buf)
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case a.Refused && err == nil:
			return "", errors.New("it was not refused but answered")
		case a.Refused:
			return refused(err, nil)
		case err != nil:
			return "", err
		}
		if got = append(got[:0], buf[:m]...); strings.Contains(string(got), a.Receive) {
			return fmt.Sprintf("received %q", head(got)), nil
		}
	}
	if len(got) > 0 {
		return "", notReceived(got, a.Receive, nil)
	}
	return "", errLate(a.Within)
}
