package main

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// What the end of a run waits for a message that still comes.
const drainPatience = 5 * time.Second

// How long it may take until a run is steady.
const warmPatience = 20 * time.Second

// measure runs the plan once: waits for the connections, warms up, measures, drains.
func measure(p *plan, f *feed, t *tally, pids []int) (map[string]any, error) {
	if opened := f.waitOpen(p.connections, 20*time.Second); opened["open"] != p.connections {
		return nil, fmt.Errorf("%v of %d connections came", opened["open"], p.connections)
	}
	links := f.all()
	started := now()
	var stop atomic.Bool
	var senders sync.WaitGroup
	var lateness []int64
	if p.rate > 0 {
		senders.Go(func() { lateness = pace(p, t, links, &stop) })
	} else {
		for _, l := range links {
			senders.Go(func() { flood(l, t.limit, &stop) })
		}
	}
	time.Sleep(p.warm)
	for wait := time.Now(); !steady(p, t, len(links)) && time.Since(wait) < warmPatience; {
		time.Sleep(10 * time.Millisecond)
	}
	begin := now()
	end := begin + int64(p.window)
	if p.rate > 0 {
		t.end.Store(end)
		t.begin.Store(begin)
	}
	began, before, first, own := now(), cpuSeconds(pids), t.count(), ownSeconds()
	time.Sleep(time.Duration(end - now()))
	ended, after, last, spent := now(), cpuSeconds(pids), t.count(), ownSeconds()-own
	memory := residentBytes(pids)
	stop.Store(true)
	for _, l := range links {
		select {
		case l.count.wake <- struct{}{}:
		default:
		}
	}
	senders.Wait()
	sent, delivered := drain(t)
	used := make([]float64, len(pids))
	for i := range pids {
		used[i] = after[i] - before[i]
	}
	seconds := float64(ended-began) / 1e9
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return map[string]any{
		"event": "result", "sent": sent, "delivered": delivered, "lost": sent - delivered,
		"misordered": t.misordered, "duplicates": t.duplicates, "foreign": t.foreign,
		"seconds": seconds, "messages": last - first,
		"messages_per_second": float64(last-first) / seconds,
		"cpu_seconds":         used, "rig_cpu_seconds": spent, "resident_bytes": memory,
		"warm_seconds": float64(begin-started) / 1e9,
		"latency_us":   percentiles(t.latencies), "lateness_us": percentiles(lateness),
	}, nil
}

// steady says whether what comes out is what goes in: without a rate once all that may be under way
// at a time has been replaced, with one once less than a tenth of a second is under way.
func steady(p *plan, t *tally, links int) bool {
	sent, delivered := t.balance()
	if p.rate == 0 {
		return delivered >= t.limit*int64(links)
	}
	return (sent-delivered)*10 < int64(p.rate)
}

func drain(t *tally) (sent, delivered int64) {
	sent, delivered = t.balance()
	for progress := time.Now(); delivered < sent && time.Since(progress) < drainPatience; {
		time.Sleep(5 * time.Millisecond)
		before := delivered
		if sent, delivered = t.balance(); delivered != before {
			progress = time.Now()
		}
	}
	return sent, delivered
}

// flood sends as fast as it is taken, with a bound on what is under way.
func flood(l *link, limit int64, stop *atomic.Bool) {
	size := len(l.frame.bytes)
	together := max(1, min(int(limit/4), (32<<10)/size))
	block := make([]byte, 0, together*size)
	for range together {
		block = append(block, l.frame.bytes...)
	}
	blocks := frame{block, l.frame.body}
	number := int64(0)
	for !stop.Load() {
		if number+int64(together)-l.count.highest.Load() > limit {
			l.count.waiting.Store(true)
			if number+int64(together)-l.count.highest.Load() > limit {
				<-l.count.wake
			}
			l.count.waiting.Store(false)
			continue
		}
		at := now()
		for i := range together {
			blocks.stamp(i*size, number+int64(i)+1, at)
		}
		number += int64(together)
		l.count.sent.Store(number)
		if l.write(block) != nil {
			return
		}
	}
}

// due is when a message is sent, in nanoseconds from the start: evenly spaced, or with all others of
// its tick when that ends.
func (p *plan) due(message int64) int64 {
	even := message * int64(time.Second) / int64(p.rate)
	if p.tick == 0 {
		return even
	}
	return (even/int64(p.tick) + 1) * int64(p.tick)
}

// pace sends each message when it is due, the connections in turn, however long the others take:
// latency counts from the schedule. What one connection gets at a time is one write. Returns how
// late the messages of the window were written.
func pace(p *plan, t *tally, links []*link, stop *atomic.Bool) []int64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	var lateness []int64
	var block []byte
	start, turns := now(), int64(len(links))
	for first, end := int64(0), int64(0); !stop.Load(); first = end {
		at := p.due(first)
		for end = first + 1; p.due(end) == at; end++ {
		}
		due := start + at
		sleepUntil(due)
		for i := first; i < min(end, first+turns); i++ {
			l := links[i%turns]
			together := (end - i + turns - 1) / turns
			number := l.count.sent.Add(together) - together
			block = block[:0]
			for j := range together {
				place := len(block)
				block = append(block, l.frame.bytes...)
				frame{block, l.frame.body}.stamp(place, number+j+1, due)
			}
			if t.inWindow(due) {
				late := now() - due
				for range together {
					lateness = append(lateness, late)
				}
			}
			if l.write(block) != nil {
				return lateness
			}
		}
	}
	return lateness
}

func sleepUntil(due int64) {
	for wait := due - now(); wait > 0; wait = due - now() {
		span := unix.NsecToTimespec(wait)
		_ = unix.Nanosleep(&span, nil)
	}
}
