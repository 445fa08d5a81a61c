"""Reads the text in a picture: POST a PNG, get its text. Answers only when the models are loaded."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

from rapidocr_onnxruntime import RapidOCR

engine = RapidOCR()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200, "ok\n")
        else:
            self.answer(404, "GET /healthz, or POST a picture to /\n")

    def do_POST(self):
        picture = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            lines, _ = engine(picture)
        except Exception as error:
            self.answer(400, f"cannot read that picture: {error}\n")
            return
        self.answer(200, "".join(text + "\n" for _, text, _ in lines or []))

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    # HTTPServer would look up the host's name here and wait for a resolver that need not be there.
    def server_bind(self):
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


print("ready", flush=True)
Server(("0.0.0.0", 8080), Handler).serve_forever()
