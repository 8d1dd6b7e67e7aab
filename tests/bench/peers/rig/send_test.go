package main

import (
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// recorder keeps what is written to it, write by write, and ends the run after some.
type recorder struct {
	net.Conn
	writes *[]int // bytes of each
	stop   *atomic.Bool
	enough int
	seen   []byte
}

func (r *recorder) Write(b []byte) (int, error) {
	*r.writes = append(*r.writes, len(b))
	r.seen = append(r.seen, b...)
	if len(*r.writes) >= r.enough {
		r.stop.Store(true)
	}
	return len(b), nil
}

// paced runs a plan over so many connections until there were enough writes; returns the writes'
// sizes in messages, and the numbers and schedules that each connection got.
func paced(p *plan, connections, enough int) (writes []int, numbers, due [][]int64, late []int64) {
	var stop atomic.Bool
	var links []*link
	var recorders []*recorder
	t := newTally(p)
	t.end.Store(int64(time.Hour) * 1000)
	t.begin.Store(0)
	single := plainFrame(compose(p.size), false)
	for c := range connections {
		r := &recorder{writes: &writes, stop: &stop, enough: enough}
		f := plainFrame(compose(p.size), false)
		links = append(links, &link{conn: r, frame: f, count: t.open(c + 1)})
		recorders = append(recorders, r)
	}
	late = pace(p, t, links, &stop)
	for i := range writes {
		writes[i] /= len(single.bytes)
	}
	for _, r := range recorders {
		var mine, times []int64
		for b := r.seen; len(b) > 0; b = b[len(single.bytes):] {
			m := b[single.body:]
			mine = append(mine, digits(m[atNumber:atNumber+digitsNumber]))
			times = append(times, digits(m[atTime:atTime+digitsTime]))
		}
		numbers, due = append(numbers, mine), append(due, times)
	}
	return writes, numbers, due, late
}

func TestAMessageIsDueAtTheEndOfItsTick(tt *testing.T) {
	even := &plan{rate: 4000}
	ticks := &plan{rate: 4000, tick: time.Millisecond}
	for message, want := range []int64{0, 250_000, 500_000, 750_000, 1_000_000} {
		if got := even.due(int64(message)); got != want {
			tt.Errorf("message %d, evenly spaced: %d", message, got)
		}
	}
	for message, want := range []int64{1, 1, 1, 1, 2, 2, 2, 2, 3} {
		if got := ticks.due(int64(message)); got != want*int64(time.Millisecond) {
			tt.Errorf("message %d, in ticks: %d", message, got)
		}
	}
}

func TestATickIsOneWriteOfEachConnection(tt *testing.T) {
	p := &plan{size: 200, connections: 3, outstanding: 1000, rate: 8000, tick: time.Millisecond}
	writes, numbers, due, late := paced(p, 3, 6)
	// Eight messages a tick over three connections in turn: the next tick begins where this one ends.
	if !slices.Equal(writes, []int{3, 3, 2, 3, 3, 2}) {
		tt.Error(writes)
	}
	for c, want := range [][]int64{{1, 2, 3, 4, 5, 6}, {1, 2, 3, 4, 5}, {1, 2, 3, 4, 5}} {
		if !slices.Equal(numbers[c], want) {
			tt.Errorf("connection %d: %v", c, numbers[c])
		}
	}
	first := due[0][0]
	if !slices.Equal(due[2], []int64{first, first, first + 1e6, first + 1e6, first + 1e6}) {
		tt.Error(due[2])
	}
	if len(late) != 16 || slices.Min(late) < 0 {
		tt.Errorf("lateness of each message: %v", late)
	}
}

func TestEvenlySpacedIsOneWriteOfEachMessage(tt *testing.T) {
	p := &plan{size: 200, connections: 1, outstanding: 1000, rate: 8000}
	writes, _, due, _ := paced(p, 1, 4)
	if !slices.Equal(writes, []int{1, 1, 1, 1}) {
		tt.Error(writes)
	}
	if d := due[0]; d[1]-d[0] != 125_000 || d[3]-d[0] != 375_000 {
		tt.Error(d)
	}
}
