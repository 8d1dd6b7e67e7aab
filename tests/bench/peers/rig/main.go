// Command rig is both ends of a measurement: the WebSocket feed in front of the program under
// test, and the sink behind it. Both ends share one clock and one tally, so that every message is
// accounted for: delivered once, in order, and how long after its scheduled time.
//
// It is told what to do by JSON objects on standard input, one a line, and answers on standard
// output likewise. It ends with its standard input.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// plan says what is sent and where it is looked for; it holds for the life of the process.
type plan struct {
	connections int
	size        int
	binary      bool
	rate        int           // messages per second over all connections; 0: as fast as they are taken
	tick        time.Duration // with a rate: what is due in one is sent at its end; 0: evenly spaced
	warm        time.Duration
	window      time.Duration
	outstanding int // messages that may be under way at a time when there is no rate
	deflate     bool
	certificate string
	api         string
	topic       string
	hosts       int
}

// order is one line of standard input.
type order struct {
	Do   string `json:"do"`   // start, wait, count, drop
	Pids []int  `json:"pids"` // start: whose processor time is measured
	Open int    `json:"open"` // wait: until so many connections are open
}

func main() {
	var p plan
	var kind string
	flag.IntVar(&p.connections, "connections", 1, "connections to wait for")
	flag.IntVar(&p.size, "size", 200, "bytes of a message")
	flag.StringVar(&kind, "kind", "text", "text or binary")
	flag.IntVar(&p.rate, "rate", 0, "messages per second, all connections together; 0: no limit")
	flag.DurationVar(&p.tick, "tick", 0, "with a rate: what is due in one goes at its end; 0: evenly spaced")
	flag.DurationVar(&p.warm, "warm", time.Second, "before the window")
	flag.DurationVar(&p.window, "window", 2*time.Second, "what is measured")
	flag.IntVar(&p.outstanding, "outstanding", 1<<14, "messages under way at most, without a rate")
	flag.BoolVar(&p.deflate, "deflate", false, "accept permessage-deflate")
	flag.StringVar(&p.certificate, "certificate", "", "serve TLS; the certificate is written here")
	flag.StringVar(&p.api, "api", "", "virtufin-api to subscribe at; else an HTTP sink is served")
	flag.StringVar(&p.topic, "topic", "", "topic to subscribe to")
	flag.IntVar(&p.hosts, "hosts", 1, "loopback addresses to listen at, from 127.0.0.1 on")
	flag.Parse()
	p.binary = kind == "binary"
	// The pacing thread sleeps in the kernel: the others must not wait for its processor slot.
	runtime.GOMAXPROCS(4)
	// A collection takes the core from the pacing thread for milliseconds, a few times a second: that
	// would be the tail that is measured. With this limit a run at 10,000 messages a second has none.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(512 << 20)
	if err := run(&p); err != nil {
		say(map[string]any{"event": "failed", "problem": err.Error()})
		os.Exit(1)
	}
}

func run(p *plan) error {
	if p.size < minSize {
		return fmt.Errorf("a message has at least %d bytes", minSize)
	}
	if p.tick < 0 {
		return fmt.Errorf("a tick of %v goes backwards", p.tick)
	}
	t := newTally(p)
	f := newFeed(p, t)
	addresses, err := f.listen()
	if err != nil {
		return err
	}
	told := map[string]any{"event": "listening", "feeds": addresses}
	if p.api == "" {
		if told["sink"], err = serveLines(t); err != nil {
			return err
		}
	}
	say(told)
	if p.api != "" {
		if err := subscribe(p, t); err != nil {
			return err
		}
		say(map[string]any{"event": "subscribed"})
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		switch o.Do {
		case "start":
			result, err := measure(p, f, t, o.Pids)
			if err != nil {
				return err
			}
			say(result)
		case "wait":
			say(f.waitOpen(o.Open, 10*time.Minute))
		case "count":
			say(f.count())
		case "drop":
			f.drop()
			say(map[string]any{"event": "dropped"})
		default:
			return fmt.Errorf("unknown order %q", o.Do)
		}
	}
	return lines.Err()
}

var saying sync.Mutex

func say(value map[string]any) {
	saying.Lock()
	defer saying.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(value)
}
