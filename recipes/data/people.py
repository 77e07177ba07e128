"""Invented people, places and values, and invented personal data whose checksums hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dice import Dice

EN_FIRST = (
    "Maren Tobias Elsie Rowan Harriet Callum Ines Bram Odette Felix Nadia Graham Priya Leon Saskia Hugo Tamsin Idris "
    "Wilma Jonah Beatrix Emeka Lorna Dmitri Carys Anselm Ruth Kofi Petra Silas Yara Merrick Agnes Dario Thea Milo Greta "
    "Oskar Fiona Lazlo"
).split()
EN_LAST = (
    "Thornquist Ellerby Vandermoor Hollowell Pendrick Marchbanks Okwuosa Tresillian Brackenridge Lindqvall Quarmby "
    "Osterholm Fairweather Dunmarrow Castellane Whitlock Ravensby Ambrister Kestleton Mornington Varga Sandoval-Reyes "
    "Bellwether Crowhurst Ashdown Penhallow Strickfield Oyelowe Harcastle Wynter"
).split()
ZH_LAST = list("王李张刘陈杨赵黄周吴徐孙朱马胡郭林何高罗梁宋郑谢韩唐冯董萧程")
ZH_WOMEN = "雨桐 佳宁 晓燕 静怡 丽娟 欣怡 雪梅 婷婷 若曦 美玲 春花 秀英 诗涵 可馨 芷若".split()
ZH_MEN = "思远 梓轩 志强 浩然 文博 建国 子涵 明哲 永康 海涛 俊杰 一鸣 天宇 国栋 立群".split()

EN_AGENTS = {
    "excellent": ["Priscilla", "Jamal", "Annika", "Theo", "Rosalind", "Mateo", "Ottilie"],
    "ordinary": ["Bernard", "Lucy", "Gavin"],
    "unhelpful": ["Keith", "Moira", "Desmond"],
    "rude": ["Trent", "Vivian"],
}
ZH_AGENTS = {
    "excellent": ["小禾", "晓雯", "阿宁", "文静", "小贝"],
    "ordinary": ["小陆", "小宋"],
    "unhelpful": ["小马", "阿强", "小齐"],
    "rude": ["小郝", "阿坤"],
}

EN_CITIES = ["Ashcombe", "Port Ellery", "Marwick", "Tolverton", "Lynmere", "Greyhaven", "Castlebrook", "Wexbury", "Oldmoor"]
ZH_CITIES = ["云汀", "江岚", "青泽", "海屿", "柏川", "南榆", "霁州", "宁溪", "临棠"]
EN_CARRIERS = ["Swiftline", "Corvo Express", "Parcelwing", "Redgate Couriers"]
ZH_CARRIERS = ["迅达快运", "飞隼速递", "青梭物流", "禾顺快递"]
EN_PLANS = ["Norvale Plus", "Norvale Care", "the Pantry Box", "Norvale Home Club"]
ZH_PLANS = ["禾庭会员", "禾庭尊享卡", "净水滤芯月付", "家电延保服务"]
EN_STREETS = ["Larkspur Lane", "Tanner's Row", "Quarry Hill", "Beech Close", "Old Mill Road", "Harbour Street"]
ZH_STREETS = ["听松路", "望湖街", "梧桐里", "春申巷", "和风大道", "柳堤路"]
EN_COMPANIES = ["Tamberlin Ltd", "Greenfold Studio GmbH", "Harrow & Pike LLP", "Osprey Dental", "Fennimore Foods", "Blue Tarn Media"]
ZH_COMPANIES = ["霁州云帆科技有限公司", "柏川恒禾商贸有限公司", "海屿拾光文化有限公司", "南榆启辰设计工作室", "江岚沐风餐饮有限公司"]
EN_LEADS = ["Ms Haverford", "Mrs Oduya", "Ms Lindmark", "Mrs Pellegrin"]
ZH_LEADS = ["许主管", "沈姐", "方主管", "陶主管"]

EN_APPLIANCES = (
    "coffee machine,robot mop,humidifier,rice cooker,steam cleaner,dishwasher,washing machine,bread maker,kettle,"
    "dehumidifier,pressure cooker,water filter,heater,tumble dryer,milk frother"
).split(",")
EN_THINGS = (
    "desk lamp,bookshelf,blender,toaster,floor fan,sewing machine,wall clock,baby monitor,folding table,mattress,"
    "wardrobe,bedside table,standing desk,shoe rack,food processor,towel warmer,camping stove,bathroom scale,mirror,"
    "garden bench,vacuum cleaner,slow cooker,saucepan set,reading chair,picture frame,duvet,rug,laundry basket"
).split(",")
EN_FITTED = "dishwasher,washing machine,range hood,water heater,gas hob,ceiling fan,wardrobe,tumble dryer".split(",")
ZH_APPLIANCES = "咖啡机 扫地机器人 加湿器 电饭煲 蒸汽拖把 洗碗机 洗衣机 面包机 电热水壶 除湿机 高压锅 净水器 取暖器 烘干机 空气炸锅".split()
ZH_THINGS = (
    "台灯 书架 料理机 烤面包机 落地扇 缝纫机 挂钟 婴儿监护器 折叠桌 床垫 衣柜 床头柜 升降桌 鞋柜 毛巾架 体重秤 "
    "穿衣镜 吸尘器 炖锅 炒锅 懒人沙发 羽绒被 地毯 脏衣篮 电吹风 破壁机"
).split()
ZH_FITTED = "洗碗机 洗衣机 油烟机 热水器 燃气灶 吊扇 衣柜 烘干机".split()
MONTHS = "January February March April May June July August September October November December".split()


@dataclass
class Customer:
    """Somebody who writes in, in one language, perhaps several times."""

    id: str
    name: str
    language: str
    style: str
    """How they type: plain, lower, sloppy, loud, emoji."""
    email: str = ""
    phone: str = ""
    visits: list[str] = field(default_factory=list)


def new_customer(number: int, language: str, dice: Dice) -> Customer:
    style = dice.weighted({"plain": 0.55, "lower": 0.17, "sloppy": 0.13, "loud": 0.07, "emoji": 0.08})
    if language == "zh":
        name = dice.one(ZH_LAST) + dice.one(ZH_WOMEN + ZH_MEN)
        email = f"{dice.letters(5).lower()}{dice.digits(3)}@{dice.one(['mail.example', 'youxiang.example'])}"
    else:
        name = f"{dice.one(EN_FIRST)} {dice.one(EN_LAST)}"
        email = name.lower().replace(" ", dice.one([".", "_", ""])) + f"{dice.between(1, 99)}@{dice.one(['example.com', 'mail.example', 'example.org'])}"
    return Customer(id=f"C{number:05d}", name=name, language=language, style=style, email=email, phone=phone(language, dice))


def day(moment: datetime, language: str, form: int) -> str:
    if language == "zh":
        return [f"{moment.month}月{moment.day}日", f"{moment.month}月{moment.day}号", f"{moment.month}.{moment.day}"][form % 3]
    month = MONTHS[moment.month - 1]
    return [f"{moment.day} {month}", f"{month} {moment.day}", f"{moment.day:02d}/{moment.month:02d}", f"{month[:3]} {moment.day}"][form % 4]


def things_of(intent: str, language: str) -> list[str]:
    zh = language == "zh"
    if intent in ("technical", "warranty"):
        return ZH_APPLIANCES if zh else EN_APPLIANCES
    if intent == "appointment":
        return ZH_FITTED if zh else EN_FITTED
    return ZH_APPLIANCES + ZH_THINGS if zh else EN_APPLIANCES + EN_THINGS


def new_slots(customer: Customer, intent: str, agent: str, start: datetime, dice: Dice) -> dict[str, str]:
    """What this session is about: things, amounts, days, numbers."""
    zh = customer.language == "zh"
    item, item2 = dice.shuffled(things_of(intent, customer.language))[:2]
    city, city2 = dice.shuffled(ZH_CITIES if zh else EN_CITIES)[:2]
    price, form = dice.between(19, 899), dice.between(0, 11)
    sign = dice.one(["$", "£", "€"])

    def money(value: int, cents: str = "") -> str:
        return f"{value}{cents}元" if zh else f"{sign}{value}{cents}"

    past, eta = start - timedelta(days=dice.between(3, 14)), start + timedelta(days=dice.between(1, 6))
    hour = dice.between(9, 19)
    if zh:
        name = customer.name[0] + ("女士" if customer.name[1:] in ZH_WOMEN else "先生")
        time = dice.one([f"{hour}点", f"{hour}:30", f"下午{dice.between(1, 6)}点"])
        street = f"{dice.one(ZH_STREETS)}{dice.between(2, 288)}号{dice.between(1, 19)}栋{dice.between(1, 25)}0{dice.between(1, 4)}"
    else:
        name = customer.name.split()[0]
        time = dice.one([f"{hour}:00", f"{hour}:30", f"{hour % 12 or 12} {'am' if hour < 12 else 'pm'}"])
        street = f"{dice.between(1, 240)} {dice.one(EN_STREETS)}"
    return {
        "item": item, "item2": item2, "item_pl": item if zh else f"{item}s", "city": city, "city2": city2,
        "amount": money(price, dice.one(["", "", ".90", ".99", ".50"])), "fee": money(dice.between(4, 60)),
        "credit": money(dice.between(3, 30)), "order": dice.one(["NV-", "NV", "#", ""]) + dice.digits(7),
        "date": day(past, customer.language, form), "eta": day(eta, customer.language, form),
        "lastdate": day(start - timedelta(days=3), customer.language, form), "days": str(dice.between(3, 12)),
        "time": time, "carrier": dice.one(ZH_CARRIERS if zh else EN_CARRIERS), "plan": dice.one(ZH_PLANS if zh else EN_PLANS),
        "code": dice.one(["SPRING", "HOME", "WELCOME", "VIP", "HAPPY", "SUN"]) + str(dice.between(5, 50)),
        "ref": dice.one(["R", "CS-", "K"]) + dice.digits(6), "name": name, "agent": agent, "error": f"E{dice.between(1, 48):02d}",
        "lead": dice.one(ZH_LEADS if zh else EN_LEADS), "street": street, "last4": dice.digits(4),
        "month": f"{past.month}月" if zh else MONTHS[past.month - 1], "company": dice.one(ZH_COMPANIES if zh else EN_COMPANIES),
        "serial": f"{dice.one('ABDKMX')}{dice.digits(8)}", "version": f"{dice.between(2, 6)}.{dice.between(0, 19)}",
        "percent": str(dice.between(11, 97)),
    }  # fmt: skip


def luhn_digit(body: str) -> str:
    """The digit that makes `body` pass the Luhn test."""
    total = 0
    for place, char in enumerate(reversed(body)):
        value = int(char) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def card(dice: Dice) -> str:
    """A card number in the test ranges of payment providers, with a valid last digit."""
    body = dice.one(["424242", "411111", "555555", "520082"]) + dice.digits(9)
    number = body + luhn_digit(body)
    return dice.one([number, " ".join(number[at : at + 4] for at in range(0, 16, 4)), "-".join(number[at : at + 4] for at in range(0, 16, 4))])


def iban(dice: Dice) -> str:
    country, body = dice.one([("DE", dice.digits(18)), ("GB", "NWBK" + dice.digits(14)), ("NL", "TEST" + dice.digits(10))])
    digits = "".join(str(int(char, 36)) for char in body + country + "00")
    code = f"{country}{98 - int(digits) % 97:02d}{body}"
    return dice.one([code, " ".join(code[at : at + 4] for at in range(0, len(code), 4))])


def cn_id(dice: Dice) -> str:
    """18 characters: an area, a birthday, a serial number, and the check character of GB 11643."""
    area = dice.one(["110101", "310101", "440106", "510104", "330102"])
    body = f"{area}{dice.between(1955, 2004)}{dice.between(1, 12):02d}{dice.between(1, 28):02d}{dice.digits(3)}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return body + "10X98765432"[sum(int(char) * weight for char, weight in zip(body, weights, strict=True)) % 11]


def phone(language: str, dice: Dice) -> str:
    """A number of the fictional blocks: 555-01xx, 020 7946 0xxx; for China a made-up one with 0000 in its middle."""
    if language == "zh":
        number = f"1{dice.one(['38', '39', '59', '88', '36'])}0000{dice.digits(4)}"
        return dice.one([number, f"+86 {number}", f"{number[:3]}-{number[3:7]}-{number[7:]}", f"{number[:3]} {number[3:7]} {number[7:]}"])
    if dice.chance(0.6):
        area, last = dice.one(["212", "415", "312", "206", "617", "305"]), f"01{dice.digits(2)}"
        return dice.one([f"+1 {area}-555-{last}", f"({area}) 555-{last}", f"{area}-555-{last}", f"+1{area}555{last}"])
    last = f"0{dice.digits(3)}"
    return dice.one([f"+44 20 7946 {last}", f"020 7946 {last}", f"+442079 46{last}"])


def personal(kind: str, customer: Customer, dice: Dice) -> str:
    """A value of personal data of this kind."""
    if kind == "email":
        return customer.email
    if kind == "phone":
        return customer.phone
    if kind == "card":
        return card(dice)
    if kind == "iban":
        return iban(dice)
    if kind == "cn_id":
        return cn_id(dice)
    if kind == "ip":
        return f"{dice.one(['203.0.113', '198.51.100', '192.0.2'])}.{dice.between(1, 254)}"
    if kind == "url":
        return f"https://shop.norvale.example/{dice.one(['reset', 'track', 'invoice'])}?token={dice.letters(28)}"
    if kind == "password":
        return dice.one(["Sunny", "Blue", "Tiger", "Hallo", "Nana"]) + f"{dice.between(10, 99)}{dice.one('!#$%')}{dice.letters(4)}"
    if kind == "api_key":
        return f"sk-{dice.letters(40)}"
    raise ValueError(f"kind: {kind!r} is no kind of personal data here")
