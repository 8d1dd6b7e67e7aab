package main

import (
	"math"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// now is nanoseconds of a clock that only grows; both ends of a measurement read it.
func now() int64 { return int64(time.Since(origin)) }

var origin = time.Now().Add(-time.Hour)

// account is what is known of one connection's messages.
type account struct {
	sent      atomic.Int64
	highest   atomic.Int64 // the highest number that was delivered
	delivered int64
	missing   map[int64]struct{} // below the highest, and not delivered yet
	waiting   atomic.Bool        // the sender waits for deliveries
	wake      chan struct{}
}

// tally accounts for every message that the sink gets.
type tally struct {
	limit int64 // messages of one connection that may be under way

	mutex      sync.Mutex
	accounts   []*account // by number of the connection
	delivered  int64
	misordered int64
	duplicates int64
	foreign    int64
	latencies  []int64

	begin, end atomic.Int64 // of the window; messages scheduled in it have their latency kept
}

func newTally(p *plan) *tally {
	byBytes := (16 << 20) / p.size
	limit := min(p.outstanding, byBytes) / p.connections
	t := &tally{limit: int64(max(limit, 64)), accounts: []*account{nil}}
	t.begin.Store(math.MaxInt64) // until it is known when
	return t
}

// open begins the account of the connection with this number; numbers come in order.
func (t *tally) open(number int) *account {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	a := &account{missing: map[int64]struct{}{}, wake: make(chan struct{}, 1)}
	if number != len(t.accounts) {
		panic("connections are numbered in order")
	}
	t.accounts = append(t.accounts, a)
	return a
}

// note takes one delivered message; the mutex is held.
func (t *tally) note(message []byte, at int64) {
	if len(message) < minSize {
		t.foreign++
		return
	}
	c := digits(message[atConnection : atConnection+digitsConnection])
	q := digits(message[atNumber : atNumber+digitsNumber])
	if c < 1 || c >= int64(len(t.accounts)) {
		t.foreign++
		return
	}
	a := t.accounts[c]
	highest := a.highest.Load()
	switch {
	case q == highest+1:
		a.highest.Store(q)
	case q > highest:
		for n := highest + 1; n < q && len(a.missing) < 1_000_000; n++ {
			a.missing[n] = struct{}{}
		}
		a.highest.Store(q)
	default:
		if _, late := a.missing[q]; !late {
			t.duplicates++
			return
		}
		delete(a.missing, q)
		t.misordered++
	}
	a.delivered++
	t.delivered++
	scheduled := digits(message[atTime : atTime+digitsTime])
	if t.inWindow(scheduled) {
		t.latencies = append(t.latencies, at-scheduled)
	}
	if a.waiting.Load() && a.sent.Load()-q < t.limit/2 {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// inWindow says whether a message with this schedule is measured.
func (t *tally) inWindow(scheduled int64) bool {
	return scheduled >= t.begin.Load() && scheduled < t.end.Load()
}

func (t *tally) count() int64 {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.delivered
}

func (t *tally) balance() (sent, delivered int64) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for _, a := range t.accounts[1:] {
		sent += a.sent.Load()
		delivered += a.delivered
	}
	return sent, delivered
}

// percentiles are of nanoseconds, told in microseconds.
func percentiles(values []int64) map[string]float64 {
	if len(values) == 0 {
		return nil
	}
	sort.Slice(values, func(i, j int) bool { return values[i] < values[j] })
	at := func(share float64) float64 {
		return float64(values[min(int(share*float64(len(values))), len(values)-1)]) / 1e3
	}
	return map[string]float64{
		"p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": at(1), "count": float64(len(values)),
	}
}
