"""``python -m ssl_audio``: parse, then import what the command needs."""

from ssl_audio import cli

app = cli.build_app("Pretrain audio encoders without labels.")


if __name__ == "__main__":
    cli.run(app, "ssl_audio")
