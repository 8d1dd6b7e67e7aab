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

// pace sends each message at its scheduled time, evenly spaced and the connections in turn, however
// long the others take: latency counts from the schedule. Returns how late the writes of the window
// were.
func pace(p *plan, t *tally, links []*link, stop *atomic.Bool) []int64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	var lateness []int64
	start := now()
	for i := int64(0); !stop.Load(); i++ {
		due := start + i*int64(time.Second)/int64(p.rate)
		sleepUntil(due)
		l := links[i%int64(len(links))]
		number := l.count.sent.Add(1)
		l.frame.stamp(0, number, due)
		if t.inWindow(due) {
			lateness = append(lateness, now()-due)
		}
		if l.write(l.frame.bytes) != nil {
			break
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
