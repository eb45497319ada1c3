"""Adds up what a shop has in stock."""

import json
import sys

import pandas


def report(path):
    stock = pandas.read_csv(path)
    stock["value"] = stock.price * stock.quantity
    return {"items": len(stock), "value": round(float(stock.value.sum()), 2)}


if __name__ == "__main__":
    print(json.dumps(report(sys.argv[1])))
