// Prints what socket calls do, without anything that differs from run to run.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *name(int e) { return e ? strerrorname_np(e) : "ok"; }

// say prints a result, or the error of a call that has failed.
static long say(const char *what, long r) {
	if (r < 0)
		printf("%s: %s\n", what, name(errno));
	else
		printf("%s: %ld\n", what, r);
	fflush(stdout);
	return r;
}

static struct sockaddr_in at(int port) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

static int bound(int fd) {
	struct sockaddr_in a;
	socklen_t n = sizeof a;
	return getsockname(fd, (void *)&a, &n) ? -1 : ntohs(a.sin_port);
}

static int join(int fd, int port) {
	struct sockaddr_in a = at(port);
	return connect(fd, (void *)&a, sizeof a);
}

static int place(int fd, int port) {
	struct sockaddr_in a = at(port);
	return bind(fd, (void *)&a, sizeof a);
}

static int listener(void) {
	int l = socket(AF_INET, SOCK_STREAM, 0);
	place(l, 0);
	listen(l, 8);
	return l;
}

// ready polls for at most a second.
static void ready(const char *what, int fd, short want) {
	struct pollfd p = {fd, want, 0};
	int n = poll(&p, 1, 1000);
	printf("%s: poll %d events %#x\n", what, n, n > 0 ? p.revents : 0);
	fflush(stdout);
}

static void notready(const char *what, int fd, short want) {
	struct pollfd p = {fd, want, 0};
	printf("%s: poll %d\n", what, poll(&p, 1, 50));
	fflush(stdout);
}

static int option(int fd, int level, int opt) {
	int v = -1;
	socklen_t n = sizeof v;
	if (getsockopt(fd, level, opt, &v, &n)) return -errno;
	return v;
}

static void pair(int *c, int *s) {
	int l = listener();
	*c = socket(AF_INET, SOCK_STREAM, 0);
	if (join(*c, bound(l))) say("pair", -1);
	*s = accept(l, 0, 0);
	close(l);
}

static void streams(void) {
	char b[200];
	int l = listener(), c = socket(AF_INET, SOCK_STREAM, 0);
	notready("listener idle", l, POLLIN | POLLOUT);
	fcntl(l, F_SETFL, O_NONBLOCK);
	say("accept nothing", accept(l, 0, 0));
	say("connect", join(c, bound(l)));
	say("connect again", join(c, bound(l)));
	ready("listener", l, POLLIN | POLLOUT);
	struct sockaddr_in a;
	socklen_t n = sizeof a;
	int s = accept4(l, (void *)&a, &n, SOCK_CLOEXEC);
	printf("accepted: family %d length %d port equal %d cloexec %d nonblock %d\n", a.sin_family, n, ntohs(a.sin_port) == bound(c),
	       fcntl(s, F_GETFD), !!(fcntl(s, F_GETFL) & O_NONBLOCK));
	notready("listener taken", l, POLLIN);
	n = sizeof a;
	say("getpeername", getpeername(c, (void *)&a, &n));
	printf("peer: %s equal %d\n", inet_ntoa(a.sin_addr), ntohs(a.sin_port) == bound(l));
	n = 4;
	say("getsockname short", getsockname(c, (void *)&a, &n));
	printf("length %d\n", n);
	ready("connected", c, POLLIN | POLLOUT | POLLRDHUP);
	say("write", write(c, "hello", 5));
	ready("readable", s, POLLIN);
	say("peek", recv(s, b, sizeof b, MSG_PEEK));
	int q;
	ioctl(s, FIONREAD, &q);
	printf("fionread %d\n", q);
	n = sizeof a;
	say("recvfrom", recvfrom(s, b, sizeof b, 0, (void *)&a, &n));
	printf("length %d\n", n);
	say("recv none", recv(s, b, sizeof b, MSG_DONTWAIT));
	struct timeval tv = {0, 30000};
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	say("recv timeout", recv(s, b, sizeof b, 0));
	struct iovec iov = {"xyz", 3};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	say("sendmsg", sendmsg(s, &m, 0));
	iov = (struct iovec){b, sizeof b};
	say("recvmsg", recvmsg(c, &m, 0));
	say("shutdown", shutdown(c, SHUT_WR));
	say("read end", read(s, b, sizeof b));
	ready("half closed", s, POLLIN | POLLRDHUP);
	say("write back", write(s, "back", 4));
	say("read back", read(c, b, sizeof b));
	signal(SIGPIPE, SIG_IGN);
	say("write after shutdown", write(c, "x", 1));
	close(s);
	say("read close", read(c, b, sizeof b));
	ready("both closed", c, POLLIN | POLLRDHUP);
	close(c);
	close(l);
}

static void errors(void) {
	int l = listener(), port = bound(l), c = socket(AF_INET, SOCK_STREAM, 0);
	int d = socket(AF_INET, SOCK_STREAM, 0);
	say("bind in use", place(d, port));
	say("listen twice", listen(l, 3));
	say("connect from listener", join(l, port));
	close(l);
	say("bind freed", place(d, port));
	say("bind twice", place(d, port));
	close(d);
	say("refused", join(c, port));
	l = socket(AF_INET, SOCK_STREAM, 0);
	int on = 1;
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	place(l, port);
	listen(l, 1);
	say("connect after refused", join(c, port));
	close(c);
	close(l);
	c = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = at(0);
	a.sin_addr.s_addr = inet_addr("192.0.2.77");
	say("bind foreign", bind(c, (void *)&a, sizeof a));
	socklen_t n = sizeof a;
	say("getpeername unconnected", getpeername(c, (void *)&a, &n));
	say("accept unlistening", accept(c, 0, 0));
	say("bind short", bind(c, (void *)&a, 4));
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6};
	say("bind family", bind(c, (void *)&a6, sizeof a6));
	say("shutdown unconnected type", option(c, SOL_SOCKET, SO_TYPE));
	say("bad option", setsockopt(c, SOL_SOCKET, 9999, &on, sizeof on));
	say("bad address", bind(c, (void *)8, sizeof a));
	close(c);
	say("bad family", socket(AF_INET, 99, 0));
	say("bad protocol", socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
	say("closed", getsockname(c, (void *)&a, &n));
	int p[2];
	pipe(p);
	say("not a socket", listen(p[0], 1));
	socketpair(AF_UNIX, SOCK_STREAM, 0, p);
	say("unix write", send(p[0], "u", 1, 0));
}

static void nonblocking(void) {
	char b[10];
	int l = listener(), port = bound(l), c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	say("connect", join(c, port));
	ready("connecting", c, POLLOUT);
	printf("so_error %s\n", name(option(c, SOL_SOCKET, SO_ERROR)));
	say("connect again", join(c, port));
	say("connect again", join(c, port));
	say("recv", recv(c, b, sizeof b, 0));
	int ep = epoll_create1(0), s = accept(l, 0, 0);
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
	epoll_ctl(ep, EPOLL_CTL_ADD, c, &e);
	say("epoll", epoll_wait(ep, &e, 1, 1000));
	printf("events %#x\n", e.events);
	say("epoll none", epoll_wait(ep, &e, 1, 50));
	write(s, "x", 1);
	say("epoll in", epoll_wait(ep, &e, 1, 1000));
	printf("events %#x\n", e.events & ~EPOLLOUT);
	close(s);
	close(c);
	close(l);
	c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	say("connect nobody", join(c, port));
	ready("refused", c, POLLOUT | POLLIN);
	printf("so_error %s\n", name(option(c, SOL_SOCKET, SO_ERROR)));
	printf("so_error %s\n", name(option(c, SOL_SOCKET, SO_ERROR)));
	close(c);
	// Back-pressure: what is not read stops the writer, and all of it arrives.
	pair(&c, &s);
	fcntl(c, F_SETFL, O_NONBLOCK);
	char big[65536];
	memset(big, 'b', sizeof big);
	long sent = 0, got = 0, n;
	while ((n = write(c, big, sizeof big)) > 0 || errno == EAGAIN) {
		if (n > 0) {
			sent += n;
			continue;
		}
		struct pollfd p = {c, POLLOUT, 0};
		if (poll(&p, 1, 200) == 0) break;
	}
	printf("stopped: %s\n", name(errno));
	close(c);
	while ((n = read(s, big, sizeof big)) > 0) got += n;
	printf("all arrived: %d, end %ld\n", sent == got, n);
	close(s);
}

static void resets(void) {
	int c, s;
	char b[10];
	struct linger lg = {1, 0};
	pair(&c, &s);
	setsockopt(s, SOL_SOCKET, SO_LINGER, &lg, sizeof lg);
	close(s);
	ready("reset", c, POLLIN);
	say("read reset", read(c, b, sizeof b));
	say("read again", read(c, b, sizeof b));
	close(c);
	pair(&c, &s);
	write(c, "unread", 6);
	ready("unread", s, POLLIN);
	close(s);
	ready("reset", c, POLLIN);
	say("read reset", read(c, b, sizeof b));
	close(c);
	pair(&c, &s);
	setsockopt(s, SOL_SOCKET, SO_LINGER, &lg, sizeof lg);
	close(s);
	ready("reset", c, POLLIN);
	printf("so_error %s\n", name(option(c, SOL_SOCKET, SO_ERROR)));
	printf("so_error %s\n", name(option(c, SOL_SOCKET, SO_ERROR)));
	say("read taken", read(c, b, sizeof b));
	close(c);
}

static void options(void) {
	int c, s, on = 1, v;
	pair(&c, &s);
	printf("type %d domain %d protocol %d accepting %d error %d\n", option(c, SOL_SOCKET, SO_TYPE), option(c, SOL_SOCKET, SO_DOMAIN),
	       option(c, SOL_SOCKET, SO_PROTOCOL), option(c, SOL_SOCKET, SO_ACCEPTCONN), option(c, SOL_SOCKET, SO_ERROR));
	int opts[][2] = {{SOL_SOCKET, SO_KEEPALIVE}, {SOL_SOCKET, SO_REUSEADDR}, {IPPROTO_TCP, TCP_NODELAY}};
	for (int i = 0; i < 3; i++) {
		v = option(c, opts[i][0], opts[i][1]);
		setsockopt(c, opts[i][0], opts[i][1], &on, sizeof on);
		printf("option %d: %d then %d\n", i, v, option(c, opts[i][0], opts[i][1]));
	}
	v = 30;
	setsockopt(c, IPPROTO_TCP, TCP_KEEPIDLE, &v, sizeof v);
	printf("keepidle %d\n", option(c, IPPROTO_TCP, TCP_KEEPIDLE));
	v = 20000;
	setsockopt(c, SOL_SOCKET, SO_RCVBUF, &v, sizeof v);
	printf("rcvbuf %d\n", option(c, SOL_SOCKET, SO_RCVBUF));
	struct tcp_info ti;
	socklen_t n = sizeof ti;
	say("tcp_info", getsockopt(c, IPPROTO_TCP, TCP_INFO, &ti, &n));
	printf("state %d\n", ti.tcpi_state);
	char ipopt[40];
	n = sizeof ipopt;
	say("ip_options", getsockopt(c, IPPROTO_IP, IP_OPTIONS, ipopt, &n));
	printf("length %d\n", n);
	n = -1;
	say("negative length", getsockopt(c, SOL_SOCKET, SO_TYPE, &v, &n));
	say("unknown", getsockopt(c, IPPROTO_TCP, 9999, &v, &n));
	close(c);
	close(s);
	int six = socket(AF_INET6, SOCK_STREAM, 0), off = 0;
	setsockopt(six, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};
	say("bind ::", bind(six, (void *)&any, sizeof any));
	listen(six, 1);
	n = sizeof any;
	getsockname(six, (void *)&any, &n);
	c = socket(AF_INET, SOCK_STREAM, 0);
	say("connect to ::", join(c, ntohs(any.sin6_port)));
	n = sizeof any;
	s = accept(six, (void *)&any, &n);
	char text[64];
	printf("mapped %s %d\n", inet_ntop(AF_INET6, &any.sin6_addr, text, sizeof text), n);
	close(c);
	close(s);
	close(six);
}

static void caught(int sig) { (void)sig; }

static void signals(void) {
	struct sigaction sa = {.sa_handler = caught};
	sigaction(SIGALRM, &sa, 0);
	int l = listener();
	struct itimerval it = {.it_value = {0, 50000}};
	setitimer(ITIMER_REAL, &it, 0);
	say("accept interrupted", accept(l, 0, 0));
	sa.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &sa, 0);
	setitimer(ITIMER_REAL, &it, 0);
	pid_t pid = fork();
	if (pid == 0) {
		usleep(120000);
		int c = socket(AF_INET, SOCK_STREAM, 0);
		_exit(join(c, bound(l)) != 0);
	}
	say("accept restarted", accept(l, 0, 0) >= 0);
	int st;
	waitpid(pid, &st, 0);
	printf("child %d\n", st);
	close(l);
}

static void *echo(void *p) {
	int s = (int)(long)p;
	char b[1000];
	long n;
	while ((n = read(s, b, sizeof b)) > 0) write(s, b, n);
	close(s);
	return 0;
}

static void *accepter(void *p) {
	int l = (int)(long)p;
	for (int i = 0; i < 50; i++) {
		pthread_t t;
		pthread_create(&t, 0, echo, (void *)(long)accept(l, 0, 0));
		pthread_detach(t);
	}
	return 0;
}

static void many(void) {
	int l = listener(), good = 0;
	pthread_t t;
	pthread_create(&t, 0, accepter, (void *)(long)l);
	for (int i = 0; i < 50; i++) {
		char b[100];
		int c = socket(AF_INET, SOCK_STREAM, 0);
		good += join(c, bound(l)) == 0 && write(c, "ping", 4) == 4 && read(c, b, sizeof b) == 4 && !memcmp(b, "ping", 4);
		close(c);
	}
	pthread_join(t, 0);
	printf("threads: %d of 50\n", good);
	// Forked servers that share a listener.
	for (int i = 0; i < 4; i++)
		if (fork() == 0) {
			for (int k = 0; k < 5; k++) {
				int s = accept(l, 0, 0);
				write(s, "served", 6);
				close(s);
			}
			_exit(0);
		}
	good = 0;
	for (int i = 0; i < 20; i++) {
		char b[100];
		int c = socket(AF_INET, SOCK_STREAM, 0);
		good += join(c, bound(l)) == 0 && recv(c, b, 6, MSG_WAITALL) == 6 && read(c, b, 1) == 0;
		close(c);
	}
	while (wait(0) > 0) {}
	printf("forks: %d of 20\n", good);
	// A connection that outlives the process that made it.
	int c, s;
	pair(&c, &s);
	if (fork() == 0) _exit(0);
	wait(0);
	int d = dup(c);
	close(c);
	say("write dup", write(d, "dup", 3));
	char b[10];
	say("read dup", read(s, b, sizeof b));
	close(d);
	say("read closed", read(s, b, sizeof b));
	close(s);
	close(l);
}

static void datagrams(void) {
	char b[100];
	struct sockaddr_in a;
	socklen_t n = sizeof a;
	int u = socket(AF_INET, SOCK_DGRAM, 0), v = socket(AF_INET, SOCK_DGRAM, 0);
	say("bind", place(u, 0));
	int w = socket(AF_INET, SOCK_DGRAM, 0);
	say("bind in use", place(w, bound(u)));
	ready("idle", u, POLLIN | POLLOUT);
	a = at(bound(u));
	say("sendto", sendto(v, "one", 3, 0, (void *)&a, sizeof a));
	say("sendto empty", sendto(v, "", 0, 0, (void *)&a, sizeof a));
	say("sendto", sendto(v, "threee", 6, 0, (void *)&a, sizeof a));
	ready("readable", u, POLLIN);
	say("peek", recv(u, b, sizeof b, MSG_PEEK));
	n = sizeof a;
	memset(&a, 0, sizeof a);
	say("recvfrom", recvfrom(u, b, sizeof b, 0, (void *)&a, &n));
	printf("from %s port equal %d length %d\n", inet_ntoa(a.sin_addr), ntohs(a.sin_port) == bound(v), n);
	say("recvfrom empty", recvfrom(u, b, sizeof b, 0, (void *)&a, &n));
	say("recv truncated", recv(u, b, 2, 0));
	say("recv none", recv(u, b, 2, MSG_DONTWAIT));
	say("recvfrom none", recvfrom(u, b, 2, MSG_DONTWAIT, (void *)&a, &n));
	say("reply", sendto(u, "reply", 5, 0, (void *)&a, n));
	say("recv reply", recv(v, b, sizeof b, 0));
	say("connect", connect(v, (void *)&(struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(bound(u)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, sizeof a));
	say("send", send(v, "connected", 9, 0));
	n = sizeof a;
	say("recvfrom", recvfrom(u, b, sizeof b, 0, (void *)&a, &n));
	printf("port equal %d\n", ntohs(a.sin_port) == bound(v));
	int x = socket(AF_INET, SOCK_DGRAM, 0);
	a = at(bound(v));
	say("stranger", sendto(x, "stranger", 8, 0, (void *)&a, sizeof a));
	notready("stranger dropped", v, POLLIN);
	say("friend", sendto(u, "friend", 6, 0, (void *)&a, sizeof a));
	struct iovec iov = {b, 3};
	char ctl[200];
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_name = &a, .msg_namelen = sizeof a, .msg_control = ctl, .msg_controllen = sizeof ctl};
	say("recvmsg", recvmsg(v, &m, 0));
	printf("flags %#x name %d port equal %d control %zu\n", m.msg_flags, m.msg_namelen, ntohs(a.sin_port) == bound(u), m.msg_controllen);
	int on = 1;
	setsockopt(u, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
	setsockopt(u, IPPROTO_IP, IP_RECVTTL, &on, sizeof on);
	setsockopt(u, IPPROTO_IP, IP_RECVTOS, &on, sizeof on);
	say("send", send(v, "info", 4, 0));
	iov.iov_len = sizeof b;
	m.msg_controllen = sizeof ctl;
	m.msg_namelen = sizeof a;
	say("recvmsg", recvmsg(u, &m, 0));
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		if (h->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo *p = (void *)CMSG_DATA(h);
			printf("pktinfo %s\n", inet_ntoa(p->ipi_addr));
		} else
			printf("control %d: %d\n", h->cmsg_type, *(unsigned char *)CMSG_DATA(h));
	}
	struct mmsghdr mm[3];
	struct iovec vec[3] = {{"a", 1}, {"bb", 2}, {"ccc", 3}};
	memset(mm, 0, sizeof mm);
	for (int i = 0; i < 3; i++) mm[i].msg_hdr.msg_iov = &vec[i], mm[i].msg_hdr.msg_iovlen = 1;
	say("sendmmsg", sendmmsg(v, mm, 3, 0));
	char bufs[3][10];
	for (int i = 0; i < 3; i++) vec[i] = (struct iovec){bufs[i], 10};
	usleep(50000);
	say("recvmmsg", recvmmsg(u, mm, 3, MSG_DONTWAIT, 0));
	printf("lengths %d %d %d\n", mm[0].msg_len, mm[1].msg_len, mm[2].msg_len);
	struct timeval tv = {0, 30000};
	setsockopt(u, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	n = sizeof a;
	say("recvfrom timeout", recvfrom(u, b, sizeof b, 0, (void *)&a, &n));
	tv = (struct timeval){1, 0};
	setsockopt(u, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	for (int i = 0; i < 100; i++) send(v, b, 1 + i, 0);
	int got = 0;
	while (recv(u, b, sizeof b, 0) >= 0) got++;
	printf("burst %d\n", got);
	int port = bound(u);
	close(u);
	say("bind freed", place(w, port));
	close(w);
	usleep(50000);
	say("send to nobody", sendmsg(v, &(struct msghdr){.msg_iov = &vec[0], .msg_iovlen = 1}, 0));
	usleep(50000);
	say("recv refused", recvfrom(v, b, sizeof b, 0, (void *)&a, &n));
	close(v);
	close(x);
}

int main(int argc, char **argv) {
	struct { const char *name; void (*f)(void); } all[] = {{"streams", streams}, {"errors", errors}, {"nonblocking", nonblocking}, {"resets", resets}, {"options", options}, {"signals", signals}, {"many", many}, {"datagrams", datagrams}};
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		if (argc > 1 && !strcmp(argv[1], all[i].name)) all[i].f();
	return 0;
}
