//go:build linux && (amd64 || arm64)

package run

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/testenv"
)

var allPrograms = flag.Bool("run.all", false, "try the programs that take long to start too")

// programs are real ones at real work, in both roles where they have both: a
// script that prints what is wanted if all went well. Servers that it leaves
// behind end with it. until waits until a command succeeds.
var programs = []struct {
	name   string
	needs  string
	slow   bool
	script string
	want   string
}{
	{"curl and python http.server", "curl python3", false, `
head -c 3000000 /dev/urandom >data
python3 -m http.server --bind :: 8000 >/dev/null 2>&1 &
until curl -sS --noproxy '*' -o got http://127.0.0.1:8000/data
cmp data got && curl -sS --noproxy '*' -g 'http://[::1]:8000/data' | cmp - data && echo ok`, "ok"},
	{"wget", "wget python3", false, `
echo hello >page
python3 -m http.server 8000 >/dev/null 2>&1 &
until wget -q --no-proxy -O got http://127.0.0.1:8000/page
cat got`, "hello"},
	{"nc, TCP", "nc", false, `
nc -l 127.0.0.1 7000 >got & s=$!
until nc -N 127.0.0.1 7000 <in
wait $s
cmp in got && echo ok`, "ok"},
	{"nc, UDP", "nc timeout", false, `
timeout 10 nc -u -l 127.0.0.1 7000 >got &
for i in 1 2 3 4 5 6 7 8 9; do
	echo hello | timeout 0.5 nc -u 127.0.0.1 7000
	if grep -q hello got; then break; fi
done
head -n 1 got`, "hello"},
	{"socat that forks", "socat", false, `
socat TCP-LISTEN:7000,bind=127.0.0.1,fork,reuseaddr EXEC:'tr a-z A-Z' &
until socat -u /dev/null TCP:127.0.0.1:7000
echo hello | socat -t 5 - TCP:127.0.0.1:7000
echo again | socat -t 5 - TCP:127.0.0.1:7000`, "HELLO\nAGAIN"},
	{"socat, UDP over IPv6", "socat", false, `
socat UDP6-RECVFROM:7000,fork PIPE &
for i in 1 2 3 4 5 6 7 8 9; do
	got=$(echo hello | socat -t 0.3 - 'UDP6:[::1]:7000')
	if [ "$got" = hello ]; then break; fi
done
echo $got`, "hello"},
	{"nginx with 4 workers and sendfile", "nginx curl", false, `
mkdir www; head -c 2000000 /dev/urandom >www/data
cat >conf <<END
worker_processes 4; pid $PWD/pid; error_log stderr crit; daemon off; master_process on;
events { worker_connections 64; }
http { access_log off; sendfile on; client_body_temp_path $PWD/a; proxy_temp_path $PWD/b; fastcgi_temp_path $PWD/c;
uwsgi_temp_path $PWD/d; scgi_temp_path $PWD/e;
server { listen 8080; listen [::1]:8080; root $PWD/www; }
server { listen 8081; location / { proxy_pass http://127.0.0.1:8080; } } }
END
[ $(id -u) = 0 ] && set -- -g 'user root;'
nginx -p . -c $PWD/conf "$@" 2>err &
until curl -sS --noproxy '*' -o got http://127.0.0.1:8080/data
for i in 1 2 3 4 5 6 7 8; do curl -sS --noproxy '*' -o got.$i http://127.0.0.1:8081/data & c="$c $!"; done
wait $c
for i in 1 2 3 4 5 6 7 8; do cmp www/data got.$i || exit 1; done
curl -sS --noproxy '*' -g 'http://[::1]:8080/data' | cmp - www/data && echo ok`, "ok"},
	{"haproxy", "haproxy curl python3", false, `
echo hello >page
cat >conf <<END
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend f
  bind 127.0.0.1:8080
  default_backend b
backend b
  server s 127.0.0.1:8000
END
python3 -m http.server --bind 127.0.0.1 8000 >/dev/null 2>&1 &
until curl -sSf --noproxy '*' -o got http://127.0.0.1:8000/page
haproxy -f conf 2>/dev/null &
until curl -sSf --noproxy '*' -o got http://127.0.0.1:8080/page
cat got`, "hello"},
	{"redis", "redis-server redis-cli redis-benchmark", false, `
redis-server --port 6400 --save '' --appendonly no >/dev/null &
until redis-cli -p 6400 ping >/dev/null
redis-cli -p 6400 set name towpath
redis-cli -p 6400 get name
redis-benchmark -p 6400 -n 3000 -c 10 -t set,get,lrange_100 -q >bench && tr '\r' '\n' <bench | grep -c 'requests per second'`, "OK\ntowpath\n4"},
	{"memcached and python", "memcached python3", false, `
[ $(id -u) = 0 ] && set -- -u root
memcached "$@" -l 127.0.0.1 -p 11300 &
python3 -c '
import socket, time
while True:
    try: s = socket.create_connection(("127.0.0.1", 11300)); break
    except OSError: time.sleep(0.05)
s.sendall(b"set k 0 0 5\r\nhello\r\nget k\r\nquit\r\n")
print(s.makefile().read().split())'`, "['STORED', 'VALUE', 'k', '0', '5', 'hello', 'END']"},
	{"iperf3", "iperf3", true, `
iperf3 -s -p 5300 >/dev/null 2>&1 &
for args in "" "-P 3 -R" "-u -b 50M" "-6"; do
	to=127.0.0.1; if [ "$args" = -6 ]; then to=::1; fi
	until iperf3 -p 5300 -t 1 $args -c $to >got 2>&1
	grep -q 'iperf Done' got && echo done
done`, "done\ndone\ndone\ndone"},
	{"git over HTTP and its own protocol", "git python3", false, `
export GIT_CONFIG_GLOBAL=/dev/null HOME=$PWD
git init -q -b main src && cd src && echo hello >file && git add file
git -c user.name=a -c user.email=a@example.com commit -qm one && git update-server-info && cd ..
python3 -m http.server --bind 127.0.0.1 8000 >/dev/null 2>&1 &
git daemon --export-all --base-path=$PWD --listen=127.0.0.1 --port=9418 --reuseaddr 2>/dev/null &
until git -c http.proxy= clone -q http://127.0.0.1:8000/src/.git one 2>/dev/null
until git clone -q git://127.0.0.1/src two 2>/dev/null
cat one/file two/file`, "hello\nhello"},
	{"ssh and sshd", "ssh sshd ssh-keygen", true, `
case $(getent passwd $(id -un)) in *nologin|*false) echo skip: this user cannot log in; exit; esac
ssh-keygen -q -t ed25519 -N '' -f key && cp key.pub authorized && chmod 600 authorized && chmod 755 .
ssh-keygen -q -t ed25519 -N '' -f hostkey
cat >conf <<END
Port 2200
ListenAddress 127.0.0.1
HostKey $PWD/hostkey
PidFile none
UsePAM no
StrictModes no
AuthorizedKeysFile $PWD/authorized
END
[ $(id -u) = 0 ] && mkdir -p /run/sshd
$(command -v sshd) -D -e -f conf 2>log &
until ssh -F /dev/null -p 2200 -i key -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR $(id -un)@127.0.0.1 'echo hello; echo $SSH_CONNECTION | cut -d" " -f3'`, "hello\n127.0.0.1"},
	{"node", "node", true, `
node -e '
const http = require("http");
const s = http.createServer((q, r) => r.end("from " + q.socket.remoteAddress));
s.listen(8000, "127.0.0.1", () => http.get("http://127.0.0.1:8000/", r => {
  r.on("data", d => console.log(String(d))); r.on("end", () => process.exit(0)); }));'`, "from 127.0.0.1"},
	{"java", "java", true, `
cat >Echo.java <<END
import java.net.*;
class Echo { public static void main(String[] a) throws Exception {
  ServerSocket s = new ServerSocket(7000);
  new Thread(() -> { try { Socket c = s.accept(); c.getInputStream().transferTo(c.getOutputStream()); c.close(); } catch (Exception e) { } }).start();
  Socket c = new Socket("127.0.0.1", 7000);
  c.getOutputStream().write("hello".getBytes()); c.shutdownOutput();
  System.out.println(new String(c.getInputStream().readAllBytes()) + " " + c.getPort());
} }
END
java Echo.java`, "hello 7000"},
	{"dig", "dig python3", false, `
python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 5300))
while True:
    q, a = s.recvfrom(512)
    end = q.index(b"\0", 12) + 5
    s.sendto(q[:2] + b"\x84\0\0\1\0\1\0\0\0\0" + q[12:end] + b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\x0a\1\2\3", a)' &
until dig -p 5300 +tries=1 +time=2 @127.0.0.1 +short +noedns name.test >got
grep -v '^;' got`, "10.1.2.3"},
	{"PostgreSQL and pgbench", "psql pgbench", true, `
[ $(id -u) != 0 ] || { echo skip: it does not run as root; exit; }
PATH=$PATH:$(echo /usr/lib/postgresql/*/bin)
initdb -D db -A trust >/dev/null && echo "listen_addresses='127.0.0.1'
port=5400
unix_socket_directories=''" >>db/postgresql.conf
postgres -D db 2>log &
export PGHOST=127.0.0.1 PGPORT=5400
until psql -qAt -d postgres -c 'select inet_client_addr()' 2>/dev/null
pgbench -i -q postgres 2>/dev/null >/dev/null && pgbench -c 4 -t 50 postgres 2>/dev/null | grep processed`, "127.0.0.1\nnumber of transactions actually processed: 200/200"},
}

// until is a shell function as the scripts need it: a command is tried again for
// ten seconds.
const prelude = `
until_() { n=0; while ! "$@" 2>last; do n=$((n+1)); if [ $n -gt 200 ]; then cat last >&2; exit 1; fi; sleep 0.05; done; }
echo "some input" >in
`

// TestPrograms: the programs of the table do their work.
func TestPrograms(t *testing.T) {
	needsRun(t)
	for _, c := range programs {
		t.Run(c.name, func(t *testing.T) {
			if c.slow && !*allPrograms {
				t.Skip("it takes long; -run.all tries it")
			}
			t.Parallel()
			for _, name := range strings.Fields(c.needs) {
				testenv.NeedsTool(t, name)
			}
			dir := t.TempDir()
			script := filepath.Join(dir, "script")
			text := prelude
			for line := range strings.Lines(c.script) {
				if rest, ok := strings.CutPrefix(strings.TrimLeft(line, "\t"), "until "); ok {
					line = "until_ " + rest
				}
				text += line
			}
			if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			var out, errs bytes.Buffer
			p, err := Start(newHost(t, "h"), Cmd{Args: []string{"sh", script}, Dir: dir, Stdout: &out, Stderr: &errs})
			if err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(programMax, p.Kill)
			defer timer.Stop()
			err = p.Wait()
			got := strings.TrimSpace(out.String())
			if why, ok := strings.CutPrefix(got, "skip: "); ok {
				t.Skip(why)
			}
			if err != nil || got != c.want {
				t.Error(fmt.Sprintf("%v, %q, want %q\n", err, got, c.want) + errs.String())
			}
		})
	}
}
