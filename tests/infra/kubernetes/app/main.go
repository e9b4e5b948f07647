// app: what the tests run in pods. It answers HTTP on 8080, holds memory when asked, and ends a second after TERM.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

var ready atomic.Bool
var hold [][]byte

func main() {
	host, _ := os.Hostname()
	delay, _ := strconv.Atoi(os.Getenv("READY_DELAY"))
	go func() { time.Sleep(time.Duration(delay) * time.Second); ready.Store(true) }()
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello from %s\n", host) })
	http.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "ok") })
	http.HandleFunc("/readyz", func(w http.ResponseWriter, r *http.Request) {
		if !ready.Load() {
			http.Error(w, "not ready", 503)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	http.HandleFunc("/unready", func(w http.ResponseWriter, r *http.Request) { ready.Store(false) })
	http.HandleFunc("/alloc", func(w http.ResponseWriter, r *http.Request) {
		mb, _ := strconv.Atoi(r.URL.Query().Get("mb"))
		b := make([]byte, mb<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		hold = append(hold, b)
		fmt.Fprintln(w, "held", len(hold), mb)
	})
	// fixed unit of CPU work, answers its wall time: shows CPU contention / throttling
	http.HandleFunc("/work", func(w http.ResponseWriter, r *http.Request) {
		t := time.Now()
		x := uint64(1)
		for i := 0; i < 100_000_000; i++ {
			x = x*6364136223846793005 + 1442695040888963407
		}
		fmt.Fprintf(w, "%s %d procs=%d\n", time.Since(t), x&1, runtime.GOMAXPROCS(0))
	})
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT)
	go func() { <-c; log.Println("SIGTERM"); time.Sleep(time.Second); os.Exit(0) }()
	log.Println("listening :8080")
	log.Fatal(http.ListenAndServe(":8080", nil))
}
